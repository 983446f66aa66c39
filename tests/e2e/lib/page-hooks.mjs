// Runs in the page before its own code. Self-contained: it is sent as text.
export function installPageHooks(options) {
  const connections = [];
  const Native = window.RTCPeerConnection;
  class RecordedPeerConnection extends Native {
    constructor(configuration, ...rest) {
      // The control: what happens in Chromium without this, when a transform comes late.
      super(options.failOpen ? { ...configuration, encodedInsertableStreams: false } : configuration, ...rest);
      connections.push(this);
    }
  }
  window.RTCPeerConnection = RecordedPeerConnection;

  const workers = [];
  const NativeWorker = window.Worker;
  window.Worker = class extends NativeWorker {
    constructor(...args) {
      super(...args);
      workers.push(this);
    }
  };

  // Two cores encode and decode for everybody.
  const native = navigator.mediaDevices?.getUserMedia?.bind(navigator.mediaDevices);
  if (native) {
    navigator.mediaDevices.getUserMedia = (constraints) => {
      const smaller = { ...constraints };
      if (smaller.video) {
        const given = typeof smaller.video === 'object' ? smaller.video : {};
        smaller.video = { ...given, width: options.width, height: options.height, frameRate: options.frameRate };
      }
      return native(smaller);
    };
  }

  if (options.attachLateMs > 0) {
    const descriptor = Object.getOwnPropertyDescriptor(RTCRtpSender.prototype, 'transform');
    Object.defineProperty(RTCRtpSender.prototype, 'transform', {
      ...descriptor,
      set(value) {
        setTimeout(() => descriptor.set.call(this, value), options.attachLateMs);
      },
    });
  }

  const pictures = new Map();
  window.e2e = {
    connections,
    workers,
    async stats() {
      const result = [];
      for (const [index, connection] of connections.entries()) {
        if (connection.connectionState === 'closed') continue;
        const report = await connection.getStats();
        for (const entry of report.values()) result.push({ connection: index, ...entry });
      }
      return result;
    },
    /** Of every video element: whether it shows a remote track, and a few pixels. */
    videos() {
      const remote = new Set(connections.flatMap((c) => c.getReceivers().map((r) => r.track?.id)));
      return [...document.querySelectorAll('video')].map((video) => {
        const track = video.srcObject?.getVideoTracks?.()[0];
        const visible = video.getClientRects().length > 0 && video.videoWidth > 0;
        let pixels = [];
        if (visible) {
          const canvas = pictures.get(video) ?? document.createElement('canvas');
          pictures.set(video, canvas);
          canvas.width = 32;
          canvas.height = 18;
          const context = canvas.getContext('2d', { willReadFrequently: true });
          context.drawImage(video, 0, 0, 32, 18);
          pixels = [...context.getImageData(0, 0, 32, 18).data].filter((_, index) => index % 4 !== 3);
        }
        return { id: track?.id ?? '', remote: track !== undefined && remote.has(track.id), visible, pixels,
          width: video.videoWidth, height: video.videoHeight };
      });
    },
  };
}
