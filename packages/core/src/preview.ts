/** The lobby's view of `Capture`. */
import type { LocalPreview, PreviewState } from "./api.ts";
import { Capture, type CaptureState } from "./capture.ts";
import { debugOptions } from "./debug-options.ts";
import { prepareEngine } from "./engine-client.ts";
import { missingFeatures } from "./features.ts";
import { Store } from "./store.ts";

export function createPreview(): LocalPreview {
  if (missingFeatures().length === 0) prepareEngine();
  const capture = new Capture({ videoSize: debugOptions().videoSize }, () => undefined);
  const store = new Store(view(capture.store.state));
  capture.store.subscribe((state) => store.set(view(state)), new AbortController().signal);
  return {
    getState: () => store.state,
    subscribe: (listener, signal) => store.subscribe(listener, signal),
    setMicrophone: (on) => capture.setMicrophone(on),
    setCamera: (on) => capture.setCamera(on),
    chooseDevice: (kind, id) => capture.chooseDevice(kind, id),
    watchMicrophoneLevel: (listener, signal) => capture.watchMicrophoneLevel(listener, signal),
    take: () => capture.take(),
    stop: () => capture.stop(),
  };
}

function view(state: CaptureState): PreviewState {
  const { microphone, camera } = state.local;
  return { microphone, camera, cameraStream: state.cameraStream, devices: state.devices };
}
