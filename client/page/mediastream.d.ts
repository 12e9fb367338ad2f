/** What Chromium has and TypeScript's library lacks: https://w3c.github.io/mediacapture-transform/ */

interface MediaStreamTrackProcessor {
  readonly readable: ReadableStream<AudioData>;
}

declare var MediaStreamTrackProcessor: new (init: {
  track: MediaStreamTrack;
  maxBufferSize?: number;
}) => MediaStreamTrackProcessor;
