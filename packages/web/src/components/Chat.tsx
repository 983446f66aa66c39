import type { ChatMessage } from "@satsuma/core";
import { SendHorizontal, X } from "lucide-react";
import { useEffect, useRef, useState, type JSX } from "react";
import { Button, Form, Label, TextArea, TextField } from "react-aria-components";

import { displayedName, linkParts } from "../words.ts";

/** UTF-16 units; the core cuts what is longer. */
const longest = 2000;

interface Props {
  readonly messages: readonly ChatMessage[];
  /** One can write only while one is in the call. */
  readonly canSend: boolean;
  readonly onSend: (text: string) => boolean;
  readonly onClose: () => void;
}

export function Chat({ messages, canSend, onSend, onClose }: Props): JSX.Element {
  const [text, setText] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const latest = messages.at(-1)?.id;
  useEffect(() => {
    if (list.current !== null) list.current.scrollTop = list.current.scrollHeight;
  }, [latest]);
  function send(): void {
    if (onSend(text)) setText("");
  }
  return (
    <aside
      className="panel chat"
      aria-label="Chat"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <header className="dialog-header">
        <h2>Chat</h2>
        <Button className="icon-button quiet" aria-label="Close the chat" onPress={onClose}>
          <X size={18} aria-hidden="true" />
        </Button>
      </header>
      {messages.length === 0 && <p className="hint">Who is in the call now can read what you write, and nobody else. Nothing is kept: who comes later does not see it, and it is gone when you leave.</p>}
      <ol className="messages" ref={list} role="log" aria-label="Messages" tabIndex={0}>
        {messages.map((message) => (
          <li key={message.id} className={message.isSelf ? "own" : ""}>
            <span className="message-head">
              <strong>
                <bdi>{message.isSelf ? "You" : displayedName(message.name)}</bdi>
              </strong>{" "}
              <time dateTime={new Date(message.at).toISOString()}>{new Date(message.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</time>
            </span>
            <span className="message-text" dir="auto">
              {linkParts(message.text).map((part, index) =>
                part.url === null ? (
                  part.text
                ) : (
                  <a key={index} href={part.url} target="_blank" rel="noopener noreferrer">
                    {part.text}
                  </a>
                ),
              )}
            </span>
          </li>
        ))}
      </ol>
      <Form
        className="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <TextField value={text} onChange={setText} autoFocus>
          <Label className="visually-hidden">Message to everybody</Label>
          <TextArea
            placeholder="Message to everybody"
            rows={2}
            dir="auto"
            maxLength={longest}
            onKeyDown={(event) => {
              // While a word is still being composed, Enter belongs to that.
              if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
              event.preventDefault();
              send();
            }}
          />
        </TextField>
        <Button type="submit" className="round-button" aria-label="Send message" isDisabled={!canSend || text.trim() === ""}>
          <SendHorizontal aria-hidden="true" />
        </Button>
      </Form>
    </aside>
  );
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
