/**
 * Loads the page again if one of its modules did not arrive. A browser drops what it loads when its network
 * changes, such as the Wi-Fi of a laptop, and does not ask for a module twice. Without its modules the page says
 * nothing and does nothing. Not a module itself, and before them, so that it is there when they fail.
 */

const AGAIN_MILLISECONDS = 2000;

// Such an event does not bubble.
addEventListener(
  "error",
  ({ target }) => {
    if (target instanceof HTMLScriptElement) setTimeout(() => location.reload(), AGAIN_MILLISECONDS);
  },
  { capture: true },
);
