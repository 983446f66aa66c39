import {
  Encryption,
  type EncryptionEvent,
  newRoomName,
  newRoomSecret,
  OrderingRoom,
  peerConfiguration,
  restrictCodecs,
  type RosterEntry,
} from "@satsuma/core/encryption";

const connectionNumber = 1; // both have one connection; a program with several numbers them
const room = { room: newRoomName(), secret: newRoomSecret() };

/** What stands behind one's own signaling. It sees messages, and no key. */
const ordering = new OrderingRoom();

class Peer {
  readonly name: string;
  readonly connection = new RTCPeerConnection(peerConfiguration());
  readonly #encryption = new Encryption();
  readonly #card = document.createElement("section");
  readonly #video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, playsInline: true });
  readonly #text = { group: document.createElement("p"), proof: document.createElement("p") };
  #roster: readonly RosterEntry[] = [];

  constructor(name: string) {
    this.name = name;
    this.#card.append(Object.assign(document.createElement("h2"), { textContent: `${name}'s screen` }), this.#video, this.#text.group, this.#text.proof);
    this.#card.dataset["peer"] = name;
    document.querySelector("main")?.append(this.#card);
    this.#encryption.subscribe((event) => this.#handle(event), new AbortController().signal);
    this.connection.ontrack = ({ receiver, transceiver, track }) => {
      const kind = track.kind === "audio" ? "audio" : "video";
      this.#encryption.unprotect(receiver, { connection: connectionNumber, mid: transceiver.mid ?? "", kind });
      if (kind === "video") this.#video.srcObject = new MediaStream([track]);
    };
  }

  async enter(): Promise<void> {
    const { port1: ours, port2: signaling } = new MessageChannel();
    // ---- signaling: binary messages, both ways ----
    const { receive } = ordering.connect((bytes) => ours.postMessage(bytes, [bytes.buffer]));
    ours.onmessage = (event: MessageEvent<Uint8Array<ArrayBuffer>>) => receive(event.data);
    // -----------------------------------------------
    await this.#encryption.start({ ...room, displayName: this.name, deviceIdentity: "temporary", signaling });
  }

  /** Answers the function that lets the camera in, for when the descriptions are through. */
  offerCamera(): (camera: MediaStreamTrack) => Promise<void> {
    const transceiver = this.connection.addTransceiver("video", { direction: "sendrecv" });
    restrictCodecs(transceiver, "video");
    this.#encryption.protect(transceiver.sender, { connection: connectionNumber, source: "camera" });
    return (camera) => transceiver.sender.replaceTrack(camera);
  }

  /** For the side that is called: the transceiver is there already. */
  answerWithCamera(): (camera: MediaStreamTrack) => Promise<void> {
    const [transceiver] = this.connection.getTransceivers();
    if (transceiver === undefined) throw new Error("called without a video");
    transceiver.direction = "sendrecv";
    this.#encryption.protect(transceiver.sender, { connection: connectionNumber, source: "camera" });
    return (camera) => transceiver.sender.replaceTrack(camera);
  }

  async describe(): Promise<RTCSessionDescriptionInit> {
    await this.connection.setLocalDescription();
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.connection.iceGatheringState === "complete") resolve();
      };
      this.connection.addEventListener("icegatheringstatechange", look);
      look();
    });
    const { type, sdp } = this.connection.localDescription ?? {};
    if (type === undefined || sdp === undefined) throw new Error("no description");
    return { type, sdp: described(sdp) };
  }

  #handle(event: EncryptionEvent): void {
    if (event.type === "session" && event.event.type === "epoch") {
      this.#roster = event.event.roster;
      this.#card.dataset["people"] = String(this.#roster.length);
      this.#text.group.textContent = `In the group: ${this.#roster.map(({ name }) => name).join(", ")}. Safety number ${event.event.safety_number}`;
    } else if (event.type === "proof") {
      const { incarnation } = event.proof;
      const sender = this.#roster.find((member) => member.incarnation === incarnation)?.name;
      this.#card.dataset["proof"] = sender;
      this.#text.proof.textContent = `This picture was decrypted with ${sender ?? "nobody"}'s key.`;
    } else if (event.type === "failed") {
      this.#text.proof.textContent = `The encryption stopped: ${event.reason}`;
      this.connection.close();
    }
  }
}

/** Firefox writes feedback of payload types that the line does not name; Chromium refuses such a description. */
function described(sdp: string): string {
  let named: readonly string[] = [];
  const lines = sdp.split("\r\n").filter((line) => {
    if (line.startsWith("m=")) named = line.split(" ").slice(3);
    const type = /^a=rtcp-fb:(\d+)/.exec(line)?.[1];
    return type === undefined || named.includes(type);
  });
  return lines.join("\r\n");
}

async function call(): Promise<void> {
  const ada = new Peer("Ada");
  const bo = new Peer("Bo");
  await Promise.all([ada.enter(), bo.enter()]);
  const devices = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180, frameRate: 15 } });
  const [camera] = devices.getVideoTracks();
  if (camera === undefined) throw new Error("no camera");

  // ---- signaling: descriptions, with the candidates in them ----
  const letAdasIn = ada.offerCamera();
  await bo.connection.setRemoteDescription(await ada.describe());
  const letBosIn = bo.answerWithCamera();
  await ada.connection.setRemoteDescription(await bo.describe());
  // ---------------------------------------------------------------

  await Promise.all([letAdasIn(camera), letBosIn(camera.clone())]);
}

document.querySelector<HTMLButtonElement>("#call")?.addEventListener("click", (event) => {
  (event.currentTarget as HTMLButtonElement).disabled = true;
  void call();
});
