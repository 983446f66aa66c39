// Put before the engine worker's code: it remembers the first frames as the encoder made them, and hands them to the page.
export const encoderHook = `
;(() => {
  const limit = 150; // of each codec
  const kept = [];
  const counts = new Map();
  const channel = new BroadcastChannel('e2e-encoder');
  const descriptor = Object.getOwnPropertyDescriptor(RTCRtpScriptTransformer.prototype, 'readable');
  const cache = new WeakMap();
  Object.defineProperty(RTCRtpScriptTransformer.prototype, 'readable', { ...descriptor, get() {
    if (this.options?.role !== 'sender') return descriptor.get.call(this);
    if (!cache.has(this)) {
      cache.set(this, descriptor.get.call(this).pipeThrough(new TransformStream({ transform(frame, controller) {
        const mime = frame.getMetadata().mimeType ?? '';
        const count = counts.get(mime) ?? 0;
        if (count < limit) {
          counts.set(mime, count + 1);
          const bytes = new Uint8Array(frame.data.slice(0));
          kept.push({ kind: frame.type ?? 'audio', mime, size: bytes.length, bytes });
        }
        controller.enqueue(frame);
      } }, { highWaterMark: 1 }, { highWaterMark: 0 })));
    }
    return cache.get(this);
  } });
  channel.onmessage = ({ data }) => { if (data === 'give') channel.postMessage({ frames: kept }); };
})();
`;
