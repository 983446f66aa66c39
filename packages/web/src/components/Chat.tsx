import { type ChatMessage, maxChatLength, type ParticipantId } from "@satsuma/core";
import { SendHorizontal, X } from "lucide-react";
import { memo, useEffect, useMemo, useRef, useState, type JSX, type RefObject } from "react";
import { Button, Form, Label, TextArea, TextField } from "react-aria-components";

import type { Coming } from "../hooks.ts";
import { displayedName, linkParts, withheldText } from "../words.ts";
import { RefutedDevice } from "./RefutedDevice.tsx";

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
        <time dateTime={new Date(message.at).toISOString()}>{new Date(message.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</time>{" "}
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
