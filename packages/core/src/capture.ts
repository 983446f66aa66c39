/** Camera, microphone and screen of this device: typed errors, the device list, the level meter. */
import type { Device, DeviceError, DeviceErrorCode, DeviceKind, Devices, LocalMedia, LocalSource, LocalTracks, Source } from "./api.ts";
import { Store } from "./store.ts";

export interface VideoSize {
  readonly width: number;
  readonly height: number;
}

export interface CaptureState {
  readonly local: LocalMedia;
  readonly devices: Devices;
  /** Live tracks. A muted microphone keeps its track, disabled, so that unmuting is instant. */
  readonly tracks: Readonly<Record<Source, MediaStreamTrack | null>>;
  readonly cameraStream: MediaStream | null;
  readonly screenStream: MediaStream | null;
}

const defaultVideoSize: VideoSize = { width: 640, height: 360 };
const frameRate = 30;
const levelIntervalMs = 50;
const off: LocalSource = { status: "off" };

export class Capture {
  readonly store: Store<CaptureState>;
  readonly #videoSize: VideoSize;
  readonly #onEnded: (source: Source) => void;
  readonly #ending = new AbortController();
  /** What is wanted now; an answer of the browser that comes too late is thrown away. */
  readonly #wanted: Record<Source, number> = { microphone: 0, camera: 0, screen: 0 };

  /** `onEnded`: a source ended by itself (unplugged, or stopped with the browser's own button). */
  constructor(
    options: {
      readonly videoSize?: VideoSize | null;
      readonly chosen?: Partial<Readonly<Record<DeviceKind, string | null>>>;
      readonly tracks?: LocalTracks;
    },
    onEnded: (source: Source) => void,
  ) {
    this.#videoSize = options.videoSize ?? defaultVideoSize;
    this.#onEnded = onEnded;
    const chosen = { microphone: null, camera: null, speaker: null, ...options.chosen };
    this.store = new Store<CaptureState>({
      local: { microphone: off, camera: off, screen: off },
      devices: { available: [], chosen },
      tracks: { microphone: null, camera: null, screen: null },
      cameraStream: null,
      screenStream: null,
    });
    if (options.tracks?.microphone) this.#setTrack("microphone", options.tracks.microphone);
    if (options.tracks?.camera) this.#setTrack("camera", options.tracks.camera);
    const refresh = (): void => void this.#refreshDevices();
    mediaDevices()?.addEventListener("devicechange", refresh, { signal: this.#ending.signal });
    refresh();
  }

  async setMicrophone(on: boolean): Promise<void> {
    const track = this.store.state.tracks.microphone;
    if (!on) {
      this.#wanted.microphone += 1;
      if (track !== null) track.enabled = false;
      this.#setLocal("microphone", off);
    } else if (track !== null && track.readyState === "live") {
      this.#wanted.microphone += 1;
      track.enabled = true;
      this.#setLocal("microphone", { status: "on" });
    } else {
      await this.#open("microphone", () => this.#getUserMedia("microphone"));
    }
  }

  async setCamera(on: boolean): Promise<void> {
    if (!on) this.#close("camera");
    else if (this.store.state.tracks.camera === null) await this.#open("camera", () => this.#getUserMedia("camera"));
  }

  async setScreen(on: boolean): Promise<void> {
    if (!on) this.#close("screen");
    else if (this.store.state.tracks.screen === null) await this.#open("screen", getDisplayMedia);
  }

  async chooseDevice(kind: DeviceKind, id: string | null): Promise<void> {
    const { devices, local } = this.store.state;
    this.#update({ devices: { ...devices, chosen: { ...devices.chosen, [kind]: id } } });
    if (kind === "speaker") return;
    if (local[kind].status === "on" || local[kind].status === "failed") {
      await this.#open(kind, () => this.#getUserMedia(kind));
    } else if (kind === "microphone") {
      this.#setTrack("microphone", null); // muted: the next unmute opens the new one
    }
  }

  /** Gives the tracks away and forgets them. */
  take(): LocalTracks {
    const { microphone, camera } = this.store.state.tracks;
    this.#ending.abort();
    this.#update({ tracks: { microphone: null, camera: null, screen: null }, cameraStream: null });
    return { microphone, camera };
  }

  stop(): void {
    this.#ending.abort();
    for (const source of ["microphone", "camera", "screen"] as const) this.#close(source);
  }

  watchMicrophoneLevel(listener: (level: number) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    const samples = new Float32Array(analyser.fftSize);
    let source: MediaStreamAudioSourceNode | null = null;
    let track: MediaStreamTrack | null = null;
    const timer = setInterval(() => {
      const { tracks, local } = this.store.state;
      if (tracks.microphone !== track) {
        source?.disconnect();
        track = tracks.microphone;
        source = track === null ? null : context.createMediaStreamSource(new MediaStream([track]));
        source?.connect(analyser);
      }
      // Stays suspended until the person touched the page, in some browsers.
      if (context.state === "suspended") void context.resume().catch(() => undefined);
      if (source === null || local.microphone.status !== "on") {
        listener(0);
        return;
      }
      analyser.getFloatTimeDomainData(samples);
      listener(loudness(samples));
    }, levelIntervalMs);
    signal.addEventListener(
      "abort",
      () => {
        clearInterval(timer);
        source?.disconnect();
        void context.close();
      },
      { once: true },
    );
  }

  async #open(source: Source, get: () => Promise<MediaStream>): Promise<void> {
    const ticket = (this.#wanted[source] += 1);
    this.#setLocal(source, { status: "starting" });
    try {
      const stream = await get();
      const [track] = stream.getTracks();
      if (track === undefined) throw new DOMException("no track", "NotFoundError");
      if (this.#wanted[source] !== ticket || this.#ending.signal.aborted) {
        stopAll(stream);
        return;
      }
      if (source === "screen") track.contentHint = "detail";
      this.#setTrack(source, track);
      void this.#refreshDevices(); // labels are known only after permission
    } catch (error) {
      if (this.#wanted[source] !== ticket) return;
      const problem = deviceError(source, error);
      if (problem.code === "cancelled") this.#setLocal(source, off);
      else this.#setLocal(source, { status: "failed", error: problem });
    }
  }

  #close(source: Source): void {
    this.#wanted[source] += 1;
    this.#setTrack(source, null);
  }

  #setTrack(source: Source, track: MediaStreamTrack | null): void {
    const { tracks, local } = this.store.state;
    const before = tracks[source];
    if (before !== null && before !== track) before.stop();
    track?.addEventListener("ended", () => {
      if (this.store.state.tracks[source] !== track) return;
      this.#close(source);
      this.#onEnded(source);
    });
    const stream = track === null ? null : new MediaStream([track]);
    const on: LocalSource = track !== null && track.enabled ? { status: "on" } : off;
    this.#update({
      tracks: { ...tracks, [source]: track },
      local: { ...local, [source]: on },
      ...(source === "camera" ? { cameraStream: stream } : {}),
      ...(source === "screen" ? { screenStream: stream } : {}),
    });
  }

  #setLocal(source: Source, value: LocalSource): void {
    this.#update({ local: { ...this.store.state.local, [source]: value } });
  }

  #update(change: Partial<CaptureState>): void {
    this.store.set({ ...this.store.state, ...change });
  }

  async #getUserMedia(kind: "microphone" | "camera"): Promise<MediaStream> {
    const devices = mediaDevices();
    if (devices === null) throw new DOMException("", "SecurityError");
    const chosen = this.store.state.devices.chosen[kind];
    try {
      return await devices.getUserMedia(this.#constraints(kind, chosen));
    } catch (error) {
      // The chosen device may be gone since: any other is better than none.
      if (chosen === null || !isNamed(error, "OverconstrainedError", "NotFoundError")) throw error;
      return devices.getUserMedia(this.#constraints(kind, null));
    }
  }

  #constraints(kind: "microphone" | "camera", chosen: string | null): MediaStreamConstraints {
    const device = chosen === null ? {} : { deviceId: { exact: chosen } };
    if (kind === "microphone") {
      return { audio: { ...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };
    }
    const { width, height } = this.#videoSize;
    return { video: { ...device, width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate } } };
  }

  async #refreshDevices(): Promise<void> {
    try {
      const infos = (await mediaDevices()?.enumerateDevices()) ?? [];
      if (this.#ending.signal.aborted) return;
      const available = infos.flatMap((info) => toDevice(info) ?? []);
      this.#update({ devices: { ...this.store.state.devices, available } });
    } catch {
      // Without a list there is nothing to choose from; the default still works.
    }
  }
}

function mediaDevices(): MediaDevices | null {
  // Absent outside a secure context, whatever the DOM library's types say.
  const devices: MediaDevices | undefined = navigator.mediaDevices;
  return devices ?? null;
}

async function getDisplayMedia(): Promise<MediaStream> {
  const devices = mediaDevices();
  if (devices === null) throw new DOMException("", "SecurityError");
  if (!("getDisplayMedia" in devices)) throw new DOMException("", "NotSupportedError");
  return devices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: false });
}

function toDevice(info: MediaDeviceInfo): Device | null {
  if (info.deviceId === "") return null; // before permission
  const kinds: Readonly<Record<MediaDeviceKind, DeviceKind>> = {
    audioinput: "microphone",
    videoinput: "camera",
    audiooutput: "speaker",
  };
  return { id: info.deviceId, kind: kinds[info.kind], label: info.label };
}

function stopAll(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** From silence to a shout on a scale that looks even: -60 dB is 0, -10 dB is 1. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, (decibels + 60) / 50));
}

function isNamed(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

const sourceWords: Readonly<Record<Source, string>> = { microphone: "microphone", camera: "camera", screen: "screen" };

export function deviceError(source: Source, error: unknown): DeviceError {
  const word = sourceWords[source];
  const code = deviceErrorCode(source, error);
  switch (code) {
    case "no-device":
      if (source === "screen") return { code, message: "There is no screen that can be shared.", advice: "Check that the system lets this browser record the screen, then try again." };
      return { code, message: `No ${word} was found.`, advice: `Connect a ${word}, then try again.` };
    case "permission-denied":
      if (source === "screen") return { code, message: "The system does not let this browser record the screen.", advice: "Allow it in the system's privacy settings, start the browser anew, then try again." };
      return {
        code,
        message: `This page may not use your ${word}.`,
        advice: `Allow the ${word} in the site settings beside the address, then try again. The system's privacy settings can also block it.`,
      };
    case "in-use":
      return {
        code,
        message: `Your ${word} could not be opened; another program may be using it.`,
        advice: "Close the other program, or choose another device, then try again.",
      };
    case "cancelled":
      return { code, message: "Nothing was chosen.", advice: "Choose a screen or a window to share it." };
    case "insecure-context":
      return {
        code,
        message: `The browser gives the ${word} only to secure pages.`,
        advice: "Open this page over HTTPS, or on the machine that the server runs on.",
      };
    case "unsupported":
      return { code, message: `This browser cannot share the ${word}.`, advice: "Use a browser on a computer for that." };
    case "failed":
      return { code, message: `Your ${word} did not start.`, advice: "Try again, or choose another device." };
  }
}

function deviceErrorCode(source: Source, error: unknown): DeviceErrorCode {
  if (isNamed(error, "NotAllowedError", "PermissionDeniedError")) {
    // Closing the picker and a refusal look the same, but for what Chromium says when the system forbids it.
    return source === "screen" && !/by system/i.test(error instanceof Error ? error.message : "") ? "cancelled" : "permission-denied";
  }
  if (isNamed(error, "NotFoundError", "OverconstrainedError")) return "no-device";
  if (isNamed(error, "NotReadableError", "AbortError")) return "in-use";
  if (isNamed(error, "SecurityError")) return "insecure-context";
  if (isNamed(error, "NotSupportedError")) return "unsupported";
  return "failed";
}
