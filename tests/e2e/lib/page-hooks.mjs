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

  // The camera in layers of one stream instead of several streams.
  if (options.scalabilityMode) {
    RecordedPeerConnection.prototype.addTransceiver = function (track, init) {
      const mode = options.onlyVideo ? { scalabilityMode: options.scalabilityMode } : {};
      const one = options.onlyVideo || (init?.sendEncodings?.length ?? 0) > 1 ? { ...init, sendEncodings: [mode] } : init;
      const transceiver = Native.prototype.addTransceiver.call(this, track, one);
      const extensions = transceiver.getHeaderExtensionsToNegotiate();
      for (const extension of extensions) if (/dependency-descriptor/.test(extension.uri)) extension.direction = 'sendrecv';
      transceiver.setHeaderExtensionsToNegotiate(extensions);
      return transceiver;
    };
    const setParameters = RTCRtpSender.prototype.setParameters;
    RTCRtpSender.prototype.setParameters = function (parameters) {
      for (const encoding of parameters.encodings) {
        if (options.onlyVideo || /vp9|av1/i.test(encoding.codec?.mimeType ?? '')) encoding.scalabilityMode = options.scalabilityMode;
        else delete encoding.scalabilityMode;
      }
      return setParameters.call(this, parameters);
    };
  }
  if (options.onlyVideo) {
    const setCodecPreferences = RTCRtpTransceiver.prototype.setCodecPreferences;
    RTCRtpTransceiver.prototype.setCodecPreferences = function (codecs) {
      return setCodecPreferences.call(this, codecs.filter(({ mimeType }) => [options.onlyVideo, 'video/rtx'].includes(mimeType)));
    };
    // The side that is called has its transceiver from the offer: it sends in layers too.
    const replaceTrack = RTCRtpSender.prototype.replaceTrack;
    RTCRtpSender.prototype.replaceTrack = async function (track) {
      const parameters = this.getParameters();
      for (const encoding of parameters.encodings) encoding.scalabilityMode = options.scalabilityMode;
      await this.setParameters(parameters);
      return replaceTrack.call(this, track);
    };
  }
  // Each packet of sound carries the one before as well (RFC 2198).
  if (options.redundantAudio) {
    const setCodecPreferences = RTCRtpTransceiver.prototype.setCodecPreferences;
    RTCRtpTransceiver.prototype.setCodecPreferences = function (codecs) {
      const isAudio = codecs.some(({ mimeType }) => mimeType === 'audio/opus');
      const red = isAudio ? RTCRtpReceiver.getCapabilities('audio').codecs.filter(({ mimeType }) => mimeType === 'audio/red') : [];
      return setCodecPreferences.call(this, [...red, ...codecs]);
    };
  }

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
    const promised = new WeakMap();
    Object.defineProperty(RTCRtpSender.prototype, 'transform', {
      ...descriptor,
      // As Chromium does with one that came too late, and which it never uses.
      get() {
        return (options.pretendAttached ? promised.get(this) : null) ?? descriptor.get.call(this);
      },
      set(value) {
        promised.set(this, value);
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
