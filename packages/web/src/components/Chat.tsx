import { type ChatMessage, maxChatLength, type Participant, type ParticipantId } from "@satsuma/core";
import { SendHorizontal, TriangleAlert, X } from "lucide-react";
import { memo, useEffect, useMemo, useRef, useState, type JSX, type RefObject } from "react";
import { Button, Form, Label, TextArea, TextField } from "react-aria-components";

import { displayedName, linkParts, list as listOf, withheldText } from "../words.ts";

interface Props {
  readonly messages: readonly ChatMessage[];
  readonly comings: readonly Coming[];
  /** Whose devices are known to be false. */
  readonly refuted: ReadonlySet<ParticipantId>;
  /** What is being written outlives the panel. */
  readonly draft: RefObject<string>;
  /** One can write only while one is in the call. */
  readonly canSend: boolean;
  /** Nothing leaves: who has left could still read it. */
  readonly isWithheld: boolean;
  readonly onSend: (text: string) => boolean;
  readonly onClose: () => void;
}

export function Chat({ messages, comings, refuted, draft, canSend, isWithheld, onSend, onClose }: Props): JSX.Element {
  const [text, setText] = useState(draft.current);
  const list = useRef<HTMLOListElement>(null);
  /** Who reads what was written earlier is not torn away from it. */
  const atEnd = useRef(true);
  const lines = useMemo(() => [...messages, ...comings].sort((a, b) => a.at - b.at), [messages, comings]);
  const latest = lines.at(-1);
  useEffect(() => {
    const own = latest !== undefined && latest.sender !== null && latest.isSelf;
    if (list.current !== null && (atEnd.current || own)) list.current.scrollTop = list.current.scrollHeight;
  }, [latest]);
  function change(written: string): void {
    draft.current = written;
    setText(written);
  }
  function send(): void {
    if (onSend(text)) change("");
  }
  return (
    <aside
      className="panel chat"
      aria-label="Chat"
      onKeyDown={(event) => {
        // While a word is still being composed, Escape only takes that back.
        if (event.key === "Escape" && !event.nativeEvent.isComposing) onClose();
      }}
    >
      <header className="dialog-header">
        <h2>Chat</h2>
        <Button className="icon-button quiet" aria-label="Close the chat" onPress={onClose}>
          <X size={18} aria-hidden="true" />
        </Button>
      </header>
      {messages.length === 0 && <p className="hint">Who is in the call now can read what you write, and nobody else. Nothing is kept: who comes later does not see it, and it is gone when you leave.</p>}
      <ol
        className="messages"
        ref={list}
        role="log"
        aria-label="Messages"
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
          atEnd.current = scrollHeight - scrollTop - clientHeight < 32;
        }}
      >
        {lines.map((line) =>
          line.sender !== null ? (
            <Message key={line.id} message={line} isRefuted={refuted.has(line.sender)} />
          ) : (
            <li key={line.id} className="coming">
              {line.text}
            </li>
          ),
        )}
      </ol>
      {isWithheld && (
        <p className="hint" role="status">
          {withheldText}
        </p>
      )}
      <Form
        className="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <TextField value={text} onChange={change} autoFocus>
          <Label className="visually-hidden">Message to everybody</Label>
          <TextArea
            placeholder="Message to everybody"
            rows={2}
            dir="auto"
            maxLength={maxChatLength}
            onKeyDown={(event) => {
              // While a word is still being composed, Enter belongs to that.
              if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
              event.preventDefault();
              send();
            }}
          />
        </TextField>
        <Button type="submit" className="round-button" aria-label="Send message" isDisabled={!canSend || isWithheld || text.trim() === ""}>
          <SendHorizontal aria-hidden="true" />
        </Button>
      </Form>
    </aside>
  );
}

/** By itself, so that a change of something else does not read all texts again. */
const Message = memo(function Message({ message, isRefuted }: { readonly message: ChatMessage; readonly isRefuted: boolean }): JSX.Element {
  return (
    <li className={message.isSelf ? "own" : ""}>
      <span className="message-head">
        <strong>
          <bdi>{displayedName(message.name)}</bdi>
          {message.isSelf && " (you)"}
        </strong>{" "}
        <time dateTime={new Date(message.at).toISOString()}>{new Date(message.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</time>
        {isRefuted && <RefutedDevice />}
      </span>
      <span className="message-text" dir="auto">
        {linkParts(message.text).map((part, index) =>
          part.url === null ? (
            part.text
          ) : (
            <a key={index} href={part.url} target="_blank" rel="noopener noreferrer">
              <bdi>{part.text}</bdi>
            </a>
          ),
        )}
      </span>
      {message.isDoubtful && <span className="hint">May not have arrived</span>}
    </li>
  );
});

export function RefutedDevice(): JSX.Element {
  return (
    <strong className="device-refuted">
      {" "}
      <TriangleAlert size={14} aria-hidden="true" /> Not the device that it claims to be
    </strong>
  );
}

/** Who had a device that was found false stays in it, gone or not: what they wrote is still there. */
export function useRefuted(participants: readonly Participant[]): ReadonlySet<ParticipantId> {
  const [refuted, setRefuted] = useState<ReadonlySet<ParticipantId>>(new Set());
  const found = participants.filter(({ id, deviceProof }) => deviceProof === "refuted" && !refuted.has(id));
  if (found.length === 0) return refuted;
  const all = new Set([...refuted, ...found.map(({ id }) => id)]);
  setRefuted(all);
  return all;
}

/** Somebody came or went, between what was written. */
export interface Coming {
  readonly id: string;
  readonly sender: null;
  readonly at: number;
  readonly text: string;
}

const maxComings = 200;

/** Who came and went while the page was watched, by the group's own list. */
export function useComings(participants: readonly Participant[]): readonly Coming[] {
  const [comings, setComings] = useState<readonly Coming[]>([]);
  const before = useRef<ReadonlyMap<ParticipantId, string>>(new Map());
  const next = useRef(0);
  useEffect(() => {
    if (participants.length === 0) return; // on the way in, also anew
    const now = new Map(participants.filter(({ isSelf }) => !isSelf).map(({ id, name }) => [id, name]));
    const isFirst = next.current === 0;
    const joined = [...now].filter(([id]) => !before.current.has(id)).map(([, name]) => name);
    const left = [...before.current].filter(([id]) => !now.has(id)).map(([, name]) => name);
    before.current = now;
    next.current += 1;
    if (isFirst || joined.length + left.length === 0) return;
    const text = [...(joined.length > 0 ? [`${listOf(joined)} joined`] : []), ...(left.length > 0 ? [`${listOf(left)} left`] : [])].join(", ");
    const coming = { id: `coming-${String(next.current)}`, sender: null, at: Date.now(), text };
    setComings((earlier) => [...earlier, coming].slice(-maxComings));
  }, [participants]);
  return comings;
}

/** What came while the chat was closed: how many, and for a moment the latest. */
export function useUnread(messages: readonly ChatMessage[], isOpen: boolean): { readonly unread: number; readonly latest: ChatMessage | null } {
  const [seen, setSeen] = useState<string | null>(null);
  const [expired, setExpired] = useState<string | null>(null);
  const last = messages.at(-1) ?? null;
  useEffect(() => {
    if (isOpen && last !== null) setSeen(last.id);
  }, [isOpen, last]);
  useEffect(() => {
    if (last === null) return;
    const timer = setTimeout(() => setExpired(last.id), 6000);
    return () => clearTimeout(timer);
  }, [last]);
  const after = messages.findIndex(({ id }) => id === seen) + 1;
  const unread = isOpen ? 0 : messages.slice(after).filter(({ isSelf }) => !isSelf).length;
  return { unread, latest: unread > 0 && last !== null && !last.isSelf && last.id !== expired ? last : null };
}
