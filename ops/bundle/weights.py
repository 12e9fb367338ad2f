"""From the model hub to sealed files: pins, downloads, builds and lists what the gpu profile needs.

    what is missing -> its repositories at their commits -> room? licences? access? -> downloads
    -> small files first, so that what cannot be used is refused early -> build -> lock

A run that was cut off goes on with the next: a pinned commit stays pinned, a file that arrived
stays, and of one that was under way, what arrived.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import HubUnavailable, PackageChanged
from appliance.weights import manifest as locks
from appliance.weights.manifest import Manifest
from ops.bundle import ultravox
from ops.bundle.asking import Licence
from ops.bundle.built import check_name, listed, notice, package_key, save
from ops.bundle.fetch import Stamps, lacking, room_for_both
from ops.bundle.hub import Hub, Listing
from ops.bundle.kokoro import convert
from ops.bundle.pins import Pin, Pinned, check, compare, pin_of, pinned
from ops.bundle.progress import Progress, megabytes
from ops.bundle.repositories import KOKORO, PACKAGER, Part, Repository, Shelf
from ops.bundle.shards import Written

_SMALL_BYTES = 64_000_000  # configs and tokenizers

Say = Callable[[str], None]
Accept = Callable[[Sequence[Licence]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """The folder to fill, its lock, and where downloads lie meanwhile."""

    weights: Path
    lock: Path
    cache: Path

    def downloads(self, listing: Listing) -> Path:
        name = listing.repository.replace("/", "--")
        return self.cache / "hub" / f"{name}@{listing.revision[:12]}"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A repository of hub.toml, the files of it that are wanted, and what was known of them."""

    entry: Repository
    listing: Listing
    pin: Pin | None
    folder: Path

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.listing.files)

    def here_bytes(self) -> int:
        """What an earlier run has downloaded."""
        found = (self.folder / file.name for file in self.listing.files)
        paths = (p for path in found for p in (path, path.with_name(f"{path.name}.partial")))
        return sum(path.stat().st_size for path in paths if path.is_file())


def bring(
    shelf: Shelf, place: Place, hub: Hub, accept: Accept, text: str = "", say: Say = print
) -> None:
    """Makes every part that is not in `place.weights` as the lock has it, and lists it there.

    `text`: which Llama, by its name in hub.toml. Raises BadSetting, HubUnavailable, HubChanged,
    LicenceNotAccepted, NoSpace, BadCheckpoint, PackageChanged; what is done until then is kept.
    """
    manifest = locks.read(place.lock)
    stamps = Stamps(place.cache, place.weights)
    parts = shelf.parts(manifest, text)
    if not text:
        for part in [part for part in parts if _is_handmade(part, manifest)]:
            say(f"  NOTE: {part.source} was built by hand, and stays; --text replaces it")
            parts = tuple(other for other in parts if other is not part)
    missing = [part for part in parts if not _is_done(part, manifest, place, stamps)]
    if missing:
        chosen = {part.source: _choose(part, manifest, place, hub) for part in missing}
        every = [one for group in chosen.values() for one in group]
        _tell(every, say)
        to_come = sum(one.size_bytes - one.here_bytes() for one in every)
        room_for_both(place.cache, to_come, place.weights, sum(one.size_bytes for one in every))
        accept([_licence(one, hub) for one in every])
        for one in every:
            hub.open_gate(one.listing)
        _save_revisions(every, place)
        for part in missing:
            _make(part, chosen[part.source], place, hub)
            stamps.add(locks.read(place.lock).of_source(part.source))
    stamps.save()
    shutil.rmtree(place.cache / "hub", ignore_errors=True)
    done = "all made and listed" if missing else "all here"
    say(f"  of the model hub: {done}, {', '.join(part.source for part in parts)}")


def _is_handmade(part: Part, manifest: Manifest) -> bool:
    """Whether the lock has it from `python -m ops.bundle ultravox`."""
    source = manifest.sources.get(part.source)
    return source is not None and source.packager != PACKAGER


def _is_done(part: Part, manifest: Manifest, place: Place, stamps: Stamps) -> bool:
    """Whether the lock's files are there, and were made of what is pinned now."""
    expected = set()
    for entry in part.repositories:
        pin = pin_of(manifest, entry.repository, place.lock)
        if pin is None or entry.revision not in ("", pin.revision):
            return False
        expected |= {
            package_key(part.source, f"{entry.role}/{name}", file.sha256)
            for name, file in pin.files.items()
        }
    weights = manifest.of_source(part.source)
    made_of = {key for weight in weights for key in weight.packages}
    if not made_of or not made_of <= expected:
        return False
    return not lacking(place.weights, weights, stamps)


def _choose(part: Part, manifest: Manifest, place: Place, hub: Hub) -> list[_Chosen]:
    """Asks the hub for every repository of a part, at its commit."""
    check_name(manifest, part.source)
    found = []
    for entry in part.repositories:
        pin = pin_of(manifest, entry.repository, place.lock)
        if pin and entry.revision not in ("", pin.revision):
            pin = None  # a person wrote another one into hub.toml
        everything = hub.listing(entry.repository, pin.revision if pin else entry.revision)
        wanted = tuple(file for file in everything.files if entry.wants(file.name))
        if not wanted:
            why = f"nothing in it is called {' or '.join(entry.files)}"
            raise HubUnavailable(repository=entry.repository, why=why)
        listing = dataclasses.replace(everything, files=wanted)
        if pin:
            compare(pin, listing)
        found.append(_Chosen(entry, listing, pin, place.downloads(listing)))
    return found


def _tell(every: Iterable[_Chosen], say: Say) -> None:
    new = []
    say("  from the model hub:")
    for one in every:
        how = "pinned" if one.pin else "named in hub.toml" if one.entry.revision else "NEW"
        say(
            f"    {one.listing.repository}  {megabytes(one.size_bytes)}, "
            f"commit {one.listing.revision} ({how}), {one.entry.licence}"
        )
        new += [one] if how == "NEW" else []
    if new:
        say("  NOTE: what is NEW is the newest there is, taken on trust. Before it is sealed,")
        say("  NOTE: compare its commit and its files' sha256 with the repository's page. The lock")
        say("  NOTE: keeps both (`hub`), and every later run insists on them.")


def _licence(one: _Chosen, hub: Hub) -> Licence:
    name = f"{one.entry.licence} ({one.listing.repository})"
    return Licence(one.listing.repository, name, hub.page(one.listing.repository))


def _save_revisions(every: Iterable[_Chosen], place: Place) -> None:
    """So that a run that is cut off goes on with the same commits."""
    manifest = locks.read(place.lock)
    for one in every:
        pin = one.pin or Pin(one.listing.revision, {})
        manifest = pinned(manifest, one.listing.repository, pin)
    save(manifest, place.lock)


def _make(part: Part, chosen: Sequence[_Chosen], place: Place, hub: Hub) -> None:
    """Downloads, builds, lists, and throws the downloads away."""
    folders = {one.entry.role: one.folder for one in chosen}
    arrived = _download(part, chosen, folders, hub)
    old = manifest = locks.read(place.lock)
    for one in chosen:
        pin = Pin(one.listing.revision, arrived[one.listing.repository])
        manifest = pinned(manifest, one.listing.repository, pin)
    source = part.described({one.listing.repository: one.listing.revision for one in chosen})
    target = place.weights.resolve() / part.folder
    written: Sequence[Written]
    if part.source == KOKORO:
        folder = folders["kokoro"]
        try:
            written = convert(folder, target)
            manifest = listed(
                manifest,
                source,
                lambda path: f"kokoro/{path.relative_to(folder).as_posix()}",
                written,
                part.folder,
            )
        finally:
            shutil.rmtree(folder)  # pickles, whatever became of them
    else:
        given = _inputs(folders)
        written = ultravox.build(given, target, notice(source.origin, source.licence))
        manifest = listed(manifest, source, given.key, written)
    _insist(old, manifest, part.source)
    save(manifest, place.lock)
    for path in folders.values():
        shutil.rmtree(path, ignore_errors=True)


def _download(
    part: Part, chosen: Sequence[_Chosen], folders: Mapping[str, Path], hub: Hub
) -> dict[str, dict[str, Pinned]]:
    """Brings every file, the small ones first; returns by repository and name what they are."""
    arrived: dict[str, dict[str, Pinned]] = {one.listing.repository: {} for one in chosen}
    files = [(one, file) for one in chosen for file in one.listing.files]
    small = [pair for pair in files if pair[1].size_bytes < _SMALL_BYTES]
    large = [pair for pair in files if pair[1].size_bytes >= _SMALL_BYTES]
    total = sum(file.size_bytes for _, file in files)
    progress = Progress(f"downloading {part.source}", total)
    before = 0
    for group in (small, large):
        for one, file in group:

            def tell(here: int, before: int = before) -> None:
                progress.at(before + here)

            sha256 = hub.download(one.listing, file, one.folder / file.name, tell)
            if one.pin:
                check(one.pin, one.listing.repository, file.name, sha256)
            arrived[one.listing.repository][file.name] = Pinned(file.size_bytes, sha256)
            before += file.size_bytes
        if group is small and part.source != KOKORO:
            ultravox.check(_inputs(folders))
    progress.done(total)
    return arrived


def _inputs(folders: Mapping[str, Path]) -> ultravox.Inputs:
    return ultravox.inputs(folders["adapter"], folders["text"], folders["features"])


def _insist(old: Manifest, new: Manifest, source: str) -> None:
    """Raises PackageChanged when the same downloads made other files than the lock has."""
    before = dict(_files(old, source))
    if source not in old.sources or old.sources[source].origin != new.sources[source].origin:
        return
    for path, sha256 in _files(new, source):
        if path in before and before[path] != sha256:
            raise PackageChanged(what=path, why="the same downloads made another file")


def _files(manifest: Manifest, source: str) -> Iterator[tuple[str, str]]:
    return ((weight.path, weight.sha256) for weight in manifest.of_source(source))
