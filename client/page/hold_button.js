/**
 * A button that is held: by a pointer, by Space or Enter on it, or by Space anywhere on the page.
 *
 * It is released at the latest when the pointer or the key is lost: over another window, by a
 * gesture of the system, or because the page is hidden.
 */

/**
 * @param {HTMLElement} button
 * @param {() => boolean} isOn whether Space counts on the whole page
 * @param {(pressed: boolean) => void} press called when it changes
 */
export function listenToHolding(button, isOn, press) {
  let pressed = false;
  const set = (/** @type {boolean} */ value) => {
    if (pressed === value) return;
    pressed = value;
    press(value);
  };
  const release = () => set(false);
  button.onpointerdown = (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId); // so that a release beside the button counts, too
    set(true);
  };
  button.onpointerup = button.onpointercancel = button.onlostpointercapture = button.onblur = release;
  button.oncontextmenu = (event) => event.preventDefault(); // a long touch opens it
  document.addEventListener("keydown", (event) => {
    const onButton = event.target === button;
    const counts = event.code === "Space" || (onButton && event.code === "Enter");
    if (!counts || !isOn() || (takesKeys(event.target) && !onButton)) return;
    event.preventDefault();
    set(true);
  });
  document.addEventListener("keyup", (event) => {
    if (event.code === "Space" || event.code === "Enter") release();
  });
  window.addEventListener("blur", release); // another window gets the release of the key
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) release();
  });
}

/** @param {EventTarget | null} target */
function takesKeys(target) {
  return target instanceof HTMLElement && target.matches("input, select, button, summary, textarea");
}
