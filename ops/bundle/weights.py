"""Build the gpu profile's models from the model hub: download, build, and add to the lock.

    missing sources -> repositories at their commits -> check disk space, licences, access
    -> download (small files first, so that an unusable model is refused early) -> build -> lock

The next run continues an interrupted one: it keeps pins and complete downloads, and resumes partial
downloads.
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
from ops.bundle.fetch import FileRecords, check_disk_space_for_both, find_missing
from ops.bundle.hub import Hub, Listing
from ops.bundle.hub_config import KOKORO, PACKAGER, HubConfig, HubSource, Repository
from ops.bundle.kokoro import convert
from ops.bundle.lock_edits import add_source, check_name, notice_text, package_key, save
from ops.bundle.pins import Pin, PinnedFile, check_file, check_listing, find_pin, set_pin
from ops.bundle.progress import Progress, megabytes
from ops.bundle.prompts import Licence
from ops.bundle.shards import WrittenFile

_SMALL_BYTES = 64_000_000  # larger than configs and tokenizers, smaller than weights

Report = Callable[[str], None]
AcceptLicences = Callable[[Sequence[Licence]], None]


@dataclass(frozen=True, slots=True)
class BuildPaths:
    """Paths of the folder to fill, its lock, and the download cache."""

    weights: Path
    lock: Path
    cache: Path

    def downloads(self, listing: Listing) -> Path:
        name = listing.repository.replace("/", "--")
        return self.cache / "hub" / f"{name}@{listing.revision[:12]}"


@dataclass(frozen=True, slots=True)
class _Selection:
    """A repository of hub.toml, the listing of its needed files, its pin and download folder."""

    entry: Repository
    listing: Listing
    pin: Pin | None
    folder: Path

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.listing.files)

    def downloaded_bytes(self) -> int:
        """Return the size of the complete and partial downloads of an earlier run."""
        complete = (self.folder / file.name for file in self.listing.files)
        paths = (p for path in complete for p in (path, path.with_name(f"{path.name}.partial")))
        return sum(path.stat().st_size for path in paths if path.is_file())


def build_from_hub(
    config: HubConfig,
    paths: BuildPaths,
    hub: Hub,
    accept_licences: AcceptLicences,
    text: str = "",
    report: Report = print,
) -> None:
    """Build every source that is missing or differs from the lock, and add it to the lock.

    `text`: the variant of the Llama. Raises BadSetting, HubUnavailable, HubChanged,
    LicenceNotAccepted, NoSpace, BadCheckpoint and PackageChanged; sources that are already complete
    are kept.
    """
    manifest = locks.read(paths.lock)
    records = FileRecords(paths.cache, paths.weights)
    sources = config.sources(manifest, text)
    if not text:
        for source in [source for source in sources if _is_built_by_hand(source, manifest)]:
            report(f"  NOTE: {source.name} was built by hand and is kept; --text replaces it")
            sources = tuple(other for other in sources if other is not source)
    missing = [source for source in sources if not _is_complete(source, manifest, paths, records)]
    if missing:
        selections = {source.name: _select(source, manifest, paths, hub) for source in missing}
        selected = [selection for group in selections.values() for selection in group]
        _announce(selected, report)
        remaining_bytes = sum(
            selection.size_bytes - selection.downloaded_bytes() for selection in selected
        )
        built_bytes = sum(selection.size_bytes for selection in selected)
        check_disk_space_for_both(paths.cache, remaining_bytes, paths.weights, built_bytes)
        accept_licences([_licence(selection, hub) for selection in selected])
        for selection in selected:
            hub.check_access(selection.listing)
        _save_revisions(selected, paths)
        for source in missing:
            _build(source, selections[source.name], paths, hub)
            records.add(locks.read(paths.lock).of_source(source.name))
    records.save()
    shutil.rmtree(paths.cache / "hub", ignore_errors=True)
    outcome = "built and added to the lock" if missing else "up to date"
    report(f"  from the model hub: {outcome}, {', '.join(source.name for source in sources)}")


def _is_built_by_hand(source: HubSource, manifest: Manifest) -> bool:
    """Whether the source was built with `python -m ops.bundle ultravox`."""
    entry = manifest.sources.get(source.name)
    return entry is not None and entry.packager != PACKAGER


def _is_complete(
    source: HubSource, manifest: Manifest, paths: BuildPaths, records: FileRecords
) -> bool:
    """Whether all files of the lock exist and were built from the current pins."""
    expected = set()
    for entry in source.repositories:
        pin = find_pin(manifest, entry.repository, paths.lock)
        if pin is None or entry.revision not in ("", pin.revision):
            return False
        expected |= {
            package_key(source.name, f"{entry.role}/{name}", file.sha256)
            for name, file in pin.files.items()
        }
    weights = manifest.of_source(source.name)
    made_of = {key for weight in weights for key in weight.packages}
    if not made_of or not made_of <= expected:
        return False
    return not find_missing(paths.weights, weights, records)


def _select(source: HubSource, manifest: Manifest, paths: BuildPaths, hub: Hub) -> list[_Selection]:
    """List every repository of a source at its commit."""
    check_name(manifest, source.name)
    selections = []
    for entry in source.repositories:
        pin = find_pin(manifest, entry.repository, paths.lock)
        if pin and entry.revision not in ("", pin.revision):
            pin = None  # hub.toml now has a different revision
        full_listing = hub.listing(entry.repository, pin.revision if pin else entry.revision)
        needed = tuple(file for file in full_listing.files if entry.wants(file.name))
        if not needed:
            why = f"it contains no file {' or '.join(entry.files)}"
            raise HubUnavailable(repository=entry.repository, why=why)
        listing = dataclasses.replace(full_listing, files=needed)
        if pin:
            check_listing(pin, listing)
        selections.append(_Selection(entry, listing, pin, paths.downloads(listing)))
    return selections


def _announce(selections: Iterable[_Selection], report: Report) -> None:
    any_new = False
    report("  from the model hub:")
    for selection in selections:
        state = "pinned" if selection.pin else "NEW"
        if not selection.pin and selection.entry.revision:
            state = "from hub.toml"
        listing = selection.listing
        report(
            f"    {listing.repository}  {megabytes(selection.size_bytes)}, "
            f"commit {listing.revision} ({state}), {selection.entry.licence}"
        )
        any_new |= state == "NEW"
    if any_new:
        report("  NOTE: NEW is the newest commit, which nothing has confirmed. Before you seal it,")
        report("  NOTE: compare the commit and the sha256 of its files with the repository's page.")
        report("  NOTE: The lock records both under `hub`, and later runs accept no others.")


def _licence(selection: _Selection, hub: Hub) -> Licence:
    repository = selection.listing.repository
    name = f"{selection.entry.licence} ({repository})"
    return Licence(repository, name, hub.page(repository))


def _save_revisions(selections: Iterable[_Selection], paths: BuildPaths) -> None:
    """Pin the commits before the download, so that an interrupted run continues with them."""
    manifest = locks.read(paths.lock)
    for selection in selections:
        pin = selection.pin or Pin(selection.listing.revision, {})
        manifest = set_pin(manifest, selection.listing.repository, pin)
    save(manifest, paths.lock)


def _build(
    source: HubSource, selections: Sequence[_Selection], paths: BuildPaths, hub: Hub
) -> None:
    """Download and build one source, add it to the lock, and delete its downloads."""
    folders = {selection.entry.role: selection.folder for selection in selections}
    downloads = _download(source, selections, folders, hub)
    old = manifest = locks.read(paths.lock)
    for selection in selections:
        repository = selection.listing.repository
        manifest = set_pin(
            manifest, repository, Pin(selection.listing.revision, downloads[repository])
        )
    revisions = {each.listing.repository: each.listing.revision for each in selections}
    entry = source.lock_source(revisions)
    target = paths.weights.resolve() / source.folder
    written: Sequence[WrittenFile]
    if source.name == KOKORO:
        folder = folders["kokoro"]
        try:
            written = convert(folder, target)
            manifest = add_source(
                manifest,
                entry,
                lambda path: f"kokoro/{path.relative_to(folder).as_posix()}",
                written,
                source.folder,
            )
        finally:
            shutil.rmtree(folder)  # pickles: deleted in any case
    else:
        inputs = _ultravox_inputs(folders)
        written = ultravox.build(inputs, target, notice_text(entry.origin, entry.licence))
        manifest = add_source(manifest, entry, inputs.key, written)
    _check_reproduced(old, manifest, source.name)
    save(manifest, paths.lock)
    for path in folders.values():
        shutil.rmtree(path, ignore_errors=True)


def _download(
    source: HubSource,
    selections: Sequence[_Selection],
    folders: Mapping[str, Path],
    hub: Hub,
) -> dict[str, dict[str, PinnedFile]]:
    """Download every file, small ones first; return size and hash by repository and name."""
    downloads: dict[str, dict[str, PinnedFile]] = {
        selection.listing.repository: {} for selection in selections
    }
    files = [(selection, file) for selection in selections for file in selection.listing.files]
    small = [pair for pair in files if pair[1].size_bytes < _SMALL_BYTES]
    large = [pair for pair in files if pair[1].size_bytes >= _SMALL_BYTES]
    total = sum(file.size_bytes for _, file in files)
    progress = Progress(f"downloading {source.name}", total)
    before_bytes = 0
    for group in (small, large):
        for selection, file in group:

            def on_progress(received_bytes: int, before_bytes: int = before_bytes) -> None:
                progress.update(before_bytes + received_bytes)

            repository = selection.listing.repository
            target = selection.folder / file.name
            sha256 = hub.download(selection.listing, file, target, on_progress)
            if selection.pin:
                check_file(selection.pin, repository, file.name, sha256)
            downloads[repository][file.name] = PinnedFile(file.size_bytes, sha256)
            before_bytes += file.size_bytes
        if group is small and source.name != KOKORO:
            ultravox.check_configs(_ultravox_inputs(folders))
    progress.finish(total)
    return downloads


def _ultravox_inputs(folders: Mapping[str, Path]) -> ultravox.UltravoxInputs:
    return ultravox.find_inputs(folders["adapter"], folders["text"], folders["features"])


def _check_reproduced(old: Manifest, new: Manifest, source: str) -> None:
    """Raise PackageChanged if the same downloads gave different files than the lock has."""
    before = dict(_hashes(old, source))
    if source not in old.sources or old.sources[source].origin != new.sources[source].origin:
        return
    for path, sha256 in _hashes(new, source):
        if path in before and before[path] != sha256:
            raise PackageChanged(what=path, why="the same downloads gave a different file")


def _hashes(manifest: Manifest, source: str) -> Iterator[tuple[str, str]]:
    return ((weight.path, weight.sha256) for weight in manifest.of_source(source))
