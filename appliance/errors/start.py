"""Why a process refuses to run; told to the operator, with an exit code."""

from __future__ import annotations

from appliance.errors.base import ApplianceError


class CannotStart(ApplianceError):
    """The process cannot start."""

    exit_code = 78  # EX_CONFIG of sysexits.h: an operator has to change something.


class BadSetting(CannotStart):
    """The setting {name} is not usable: {why}."""

    reason = "bad_setting"
    advice = "`python -m appliance settings` lists every setting with its unit and default."


class MissingWeights(CannotStart):
    """The model file {path} is missing."""

    reason = "missing_weights"
    advice = "Run `make setup`; in the sealed image this means that the image is incomplete."


class UnreadableModel(CannotStart):
    """The model file {path} cannot be loaded."""

    reason = "unreadable_model"
    advice = "Run `make setup` again; the file should be a GGUF model of a kind llama.cpp knows."


class BadCheckpoint(CannotStart):
    """The model file {path} cannot be used: {why}."""

    reason = "bad_checkpoint"
    advice = "Build the folder again: `python -m ops.bundle ultravox` on the connected side."


class WeightsCast(CannotStart):
    """vLLM would convert the weight {name} from {stored} to {wanted} while it loads it."""

    reason = "weights_cast"
    advice = "Answers would be wrong. Build the model folder again, and leave VOICE_LLM_DTYPE."


class ModelNotStarted(CannotStart):
    """vLLM could not start the model in {path}."""

    reason = "model_not_started"
    advice = "The lines before this one in the log say why; the first error there is the cause."


class UnknownLlama(CannotStart):
    """The llama.cpp in the xllamacpp package is another than we were written for: {what}."""

    reason = "unknown_llama"
    advice = "Install the xllamacpp of the lock file; for another, compare its structs with ours."


class NoCard(CannotStart):
    """There is no NVIDIA card to run on: {why}."""

    reason = "no_card"
    advice = (
        "Give the container the card (--device nvidia.com/gpu=all, or --gpus all); "
        "nvidia-smi on the host says whether the driver sees it."
    )


class TooLittleMemory(CannotStart):
    """{card} has too little memory: {sum}."""

    reason = "too_little_memory"
    advice = "Take weights of fewer bits or a larger card; docs/hardware.md shows the whole sum."


class SealBroken(CannotStart):
    """The seal is broken: {what}."""

    reason = "seal_broken"
    advice = "Do not use this installation. Set it up, or import the image, again."
    exit_code = 79


class BadLock(CannotStart):
    """The lock {path} cannot be used: {why}."""

    reason = "bad_lock"
    advice = "Take the file from the release again; `make lock` writes a new one."


class PackageUnavailable(CannotStart):
    """The package {package} cannot be had: {why}."""

    reason = "package_unavailable"
    advice = (
        "Check the network and the settings of pip and npm, then run `make setup` again; "
        "what is already here is kept."
    )


class PackageChanged(CannotStart):
    """{what} is not what image-manifest.lock says: {why}."""

    reason = "package_changed"
    advice = "Do not use it. Run `make setup` again; if it stays so, the registry's file changed."


class HubUnavailable(CannotStart):
    """The model repository {repository} cannot be had: {why}."""

    reason = "hub_unavailable"
    advice = "Check the network, then run `make weights` again; it goes on where it stopped."


class HubChanged(CannotStart):
    """{what} of the model repository {repository} is not what was pinned: {why}."""

    reason = "hub_changed"
    advice = "Do not use it. Find out why it changed; docs/image-manifest.md says how to pin anew."


class LicenceNotAccepted(CannotStart):
    """The licence of {repository} is not accepted: {why}."""

    reason = "licence_not_accepted"
    advice = "Read it on the repository's page, accept it there if asked to, then run this again."


class NoSpace(CannotStart):
    """The folder {folder} has {free_bytes:,} bytes free, and {wanted_bytes:,} are needed."""

    reason = "no_space"
    advice = "Make room, or put the folder on another disk, then run `make setup` again."


class PortTaken(CannotStart):
    """{host}:{port} is already in use."""

    reason = "port_taken"
    advice = "Stop what listens there, or set VOICE_GATEWAY_PORT or VOICE_EXPORTER_PORT."


class AlreadyRunning(CannotStart):
    """Another appliance runs in the folder {path}."""

    reason = "already_running"
    advice = "Stop it first, or give this one a folder of its own with VOICE_PATHS_RUN."


class ProgramFailed(CannotStart):
    """The process {program} could not be kept running."""

    reason = "program_failed"
    advice = "Read that process's last lines in the log: the first error there is the cause."
    exit_code = 70  # EX_SOFTWARE


class SupervisorFailed(CannotStart):
    """The supervisor failed: {how}."""

    reason = "supervisor_failed"
    advice = "Start the appliance again; if it was killed, the host may be short of memory."
    exit_code = 71  # EX_OSERR


class EndedItself(ApplianceError):
    """The appliance ended itself, so that the host starts it anew."""

    exit_code = 80  # to 89: beyond sysexits.h and a broken seal; to be started again


class RestartLoop(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and ended again."""

    reason = "restart_loop"
    advice = (
        "The host starts the appliance anew. If it goes on, the last lines of that process before "
        "each of its ends say why; killed by signal 9 means that the container is short of memory."
    )
    exit_code = 80


class NotAnswering(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and is silent again."""

    reason = "not_answering"
    advice = (
        "The host starts the appliance anew. If it goes on, lower VOICE_GATEWAY_MAX_SESSIONS: a "
        "machine with too much to do looks the same."
    )
    exit_code = 81


class NeverReady(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and is never ready."""

    reason = "never_ready"
    advice = "Give it more time with VOICE_SUPERVISION_LOAD_SECONDS, or faster disks."
    exit_code = 82


class MemoryGrown(EndedItself):
    """The process {program} was restarted {restarts} times in {seconds:g} s and grew again."""

    reason = "memory_grown"
    advice = (
        "The host starts the appliance anew. If it needs what it holds, raise its limit "
        "(VOICE_SUPERVISION_..._MEMORY_BYTES) and the container's; if not, report a defect."
    )
    exit_code = 83


class GpuLost(EndedItself):
    """A graphics card that was here is gone: {why}."""

    reason = "gpu_lost"
    advice = (
        "The host makes the container anew, which brings the card back where only the container "
        "lost it. If it stays away, look at nvidia-smi and the kernel's log (Xid) on the host."
    )
    exit_code = 84
