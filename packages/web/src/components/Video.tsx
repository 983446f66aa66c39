import { useEffect, useRef, type JSX } from "react";

interface VideoProps {
  readonly stream: MediaStream;
  readonly mirrored?: boolean;
  readonly contain?: boolean;
  readonly label: string;
}

export function Video({ stream, mirrored = false, contain = false, label }: VideoProps): JSX.Element {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current;
    if (video === null) return;
    video.srcObject = stream;
    // Interrupted by the next srcObject, or refused until the person touches the page: both mend themselves.
    video.play().catch(() => undefined);
    return () => {
      video.srcObject = null;
    };
  }, [stream]);
  return (
    <video
      ref={element}
      className={`video${mirrored ? " mirrored" : ""}${contain ? " contain" : ""}`}
      aria-label={label}
      autoPlay
      playsInline
      muted
      disablePictureInPicture
    />
  );
}

interface AudioProps {
  readonly stream: MediaStream;
  readonly speaker: string | null;
}

type WithSink = HTMLAudioElement & { setSinkId?: (id: string) => Promise<void> };

export function Audio({ stream, speaker }: AudioProps): JSX.Element {
  const element = useRef<HTMLAudioElement>(null);
  useEffect(() => {
    const audio = element.current;
    if (audio === null) return;
    audio.srcObject = stream;
    audio.play().catch(() => undefined);
    return () => {
      audio.srcObject = null;
    };
  }, [stream]);
  useEffect(() => {
    const audio: WithSink | null = element.current;
    audio?.setSinkId?.(speaker ?? "").catch(() => undefined); // gone meanwhile: the default plays
  }, [speaker]);
  return <audio ref={element} autoPlay />;
}
