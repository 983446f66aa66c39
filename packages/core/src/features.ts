/** Which of the functions that Satsuma needs this browser lacks. */
import type { Feature } from "./api.ts";

export function missingFeatures(scope: Readonly<Record<string, unknown>> = { ...pick() }): readonly Feature[] {
  const missing: Feature[] = [];
  if (scope["isSecureContext"] !== true) missing.push("secure-context");
  if (scope["WebAssembly"] === undefined) missing.push("webassembly");
  if (scope["Worker"] === undefined) missing.push("workers");
  if (scope["RTCPeerConnection"] === undefined) missing.push("webrtc");
  if (scope["RTCRtpScriptTransform"] === undefined) missing.push("encoded-transform");
  if (scope["mediaDevices"] === undefined) missing.push("camera-and-microphone");
  return missing;
}

function pick(): Readonly<Record<string, unknown>> {
  return {
    isSecureContext: globalThis.isSecureContext,
    WebAssembly: globalThis.WebAssembly,
    Worker: globalThis.Worker,
    RTCPeerConnection: globalThis.RTCPeerConnection,
    RTCRtpScriptTransform: globalThis.RTCRtpScriptTransform,
    // Absent outside a secure context, in every browser.
    mediaDevices: globalThis.navigator.mediaDevices,
  };
}
