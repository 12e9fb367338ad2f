"""The audit log, as the gateway writes it: the only writer of the chain (ADR 17).

The lines contain no words of callers, no tokens and no addresses: names, counts, times and hashes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from appliance import journal, run_folder
from appliance.audit import chain
from appliance.audit.folder import AuditFolder, FolderWriter
from appliance.errors import AuditUnavailable
from appliance.gateway.metrics import GatewayMetrics
from appliance.settings import VERSION, Settings, render

REFUSAL_SECONDS = 60.0  # refusals within this time become one line
log = journal.get()


def settings_sha256(settings: Settings) -> str:
    """Return the SHA-256 of what `python -m appliance settings` prints."""
    return hashlib.sha256(f"{render(settings)}\n".encode()).hexdigest()


def utc_now() -> str:
    """Return the time of day, as the log writes it: "2026-11-28T19:00:00.000000Z"."""
    return datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class AuditLog:
    """Writes each line to the log, and to the folder of the settings if there is one.

    Every line goes to the log first. If the folder cannot be written, calls go on; the metrics and
    an error in the log show it.
    """

    def __init__(
        self, settings: Settings, metrics: GatewayMetrics, now: Callable[[], str] = utc_now
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._refusals: Counter[str] = Counter()
        self._expired_uses: Counter[str] = Counter()  # by the token's name
        self._writer: FolderWriter | None = None
        self._chain = chain.Chain(chain.Head())

    def start(self) -> None:
        """Open the folder and record the start: version, and the hashes of settings and seal.

        `chain` is "new" if no earlier line was found, otherwise "continued". Raises
        AuditUnavailable if the folder cannot be opened and `audit.required` is set.
        """
        self._open_folder()
        seal = run_folder.read_seal(self._settings.paths.run)
        self._append(
            chain.STARTED,
            chain="continued" if self._chain.head.number else "new",
            version=VERSION,
            profile=self._settings.profile,
            settings_sha256=settings_sha256(self._settings),
            seal_sha256=str(seal.get("lock_sha256", "")),
            code_sha256=str((seal.get("code") or {}).get("sha256", "")),
            seal_check=("full" if seal["full"] else "quick") if "full" in seal else "none",
        )

    def call_started(self, session: str, token: str) -> None:
        """Record a call: the random id of its session, and the name of its token.

        The field is not called `session`, because tools that read the log by session would read
        these lines, too.
        """
        self._append(chain.CALL_STARTED, call=session, token=token)

    def call_ended(self, session: str, token: str, reason: str, seconds: float) -> None:
        """Record the end of a call."""
        self._append(
            chain.CALL_ENDED,
            call=session,
            token=token,
            reason=reason,
            duration_seconds=round(seconds, 3),
        )

    def refused(self, reason: str) -> None:
        """Count a refusal for the next `summarize_refusals`."""
        self._refusals[reason] += 1

    def expired_token_used(self, token: str) -> None:
        """Record that an expired token was presented: the first time, and then with the summary.

        Only its former holder can do that: a wrong token has no name.
        """
        self._expired_uses[token] += 1
        if self._expired_uses[token] == 1:
            self._append(chain.EXPIRED_TOKEN_USED, token=token, count=1)

    def summarize_refusals(self) -> None:
        """Record the refusals since the last summary in one line, if there were any.

        Each expired token that was presented again has a line of its own.
        """
        uses, self._expired_uses = self._expired_uses, Counter()
        for token, count in sorted(uses.items()):
            if count > 1:
                self._append(chain.EXPIRED_TOKEN_USED, token=token, count=count - 1)
        if self._refusals:
            counts, self._refusals = dict(sorted(self._refusals.items())), Counter()
            self._append(chain.REFUSED, count=sum(counts.values()), reasons=counts)

    def tokens_changed(
        self, created: Sequence[str], revoked: Sequence[str], expired: Sequence[str]
    ) -> None:
        """Record the names of tokens that an operator revoked or created, or that have expired."""
        changes = (
            (chain.TOKEN_REVOKED, revoked),
            (chain.TOKEN_CREATED, created),
            (chain.TOKEN_EXPIRED, expired),
        )
        for action, names in changes:
            for name in names:
                self._append(action, token=name)

    def certificate_loaded(self, sha256: str, client_ca_sha256: str) -> None:
        """Record the fingerprint of the server's certificate, and the hash of the clients' CA."""
        self._append(
            chain.CERTIFICATE_LOADED, certificate_sha256=sha256, client_ca_sha256=client_ca_sha256
        )

    def drain_changed(self, draining: bool) -> None:
        """Record that an operator began a drain, or ended it."""
        self._append(chain.DRAIN_BEGUN if draining else chain.DRAIN_UNDONE)

    def closed_changed(self, closed: bool) -> None:
        """Record that the appliance was closed to callers, or opened."""
        self._append(chain.CLOSED if closed else chain.OPENED)

    def stopping(self, reason: str, sessions: int) -> None:
        """Record the beginning of a stop, and the number of calls in progress."""
        self._append(chain.STOPPING, reason=reason, sessions=sessions)

    def close(self) -> None:
        """Record the end of the process, and write what is waiting."""
        self.summarize_refusals()
        self._append(chain.STOPPED)
        if self._writer is not None:
            self._writer.close()

    def _open_folder(self) -> None:
        """Continue the chain of the folder, if there is one."""
        audit = self._settings.audit
        if not audit.folder:
            return
        try:
            folder = AuditFolder(Path(audit.folder), audit.file_bytes)
        except AuditUnavailable as problem:
            if audit.required:
                raise
            log.error("audit folder unusable", exc_info=problem)
            self._metrics.audit_failing.set(1)
            return
        self._chain = chain.Chain(folder.head)
        self._writer = FolderWriter(
            folder, self._folder_changed, self._metrics.audit_lines_lost.inc
        )

    def _append(self, action: str, **fields: chain.Value) -> None:
        line = self._chain.append(self._now(), action, fields)
        journal.write_line(line)
        if self._writer is not None:
            self._writer.put(line)
        elif self._settings.audit.folder:
            self._metrics.audit_lines_lost.inc()

    def _folder_changed(self, error: OSError | None) -> None:
        """Called in the thread of the writer."""
        self._metrics.audit_failing.set(error is not None)
        if error is not None:
            log.error("audit folder failed", exc_info=error)
        else:
            log.info("audit folder works again")
