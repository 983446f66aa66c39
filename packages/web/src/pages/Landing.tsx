import { makeRoomLink, newRoomName, newRoomSecret, parseRoomLink, parseRoomName, type RoomSuite, standardSuite } from "@satsuma/core";
import { ArrowRight, KeyRound, LockKeyhole, ServerOff } from "lucide-react";
import { useEffect, useState, type JSX } from "react";
import { Button, FieldError, Form, Input, Label, TextField } from "react-aria-components";

import { AboutDialog } from "../components/AboutDialog.tsx";
import { Brand } from "../components/Brand.tsx";
import { SuiteSelect } from "../components/SuiteSelect.tsx";
import { ThemeButton } from "../components/ThemeButton.tsx";
import { navigate } from "../navigation.ts";
import { suiteWords } from "../words.ts";

export function Landing(): JSX.Element {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [suite, setSuite] = useState<RoomSuite>(standardSuite);
  useEffect(() => {
    document.title = "Satsuma: private video meetings";
  }, []);

  function openNamed(): void {
    const pasted = parseRoomLink(text.trim());
    if (pasted.kind === "complete") {
      navigate(makeRoomLink(location.origin, pasted.room, pasted.secret, pasted.suite));
      return;
    }
    const room = parseRoomName(text);
    if (room === null) setError("A name has 1 to 64 letters a to z, digits and dashes. You can also paste a link here.");
    else navigate(makeRoomLink(location.origin, room, newRoomSecret(), suite));
  }

  return (
    <div className="page">
      <header className="page-header">
        <Brand />
        <ThemeButton />
      </header>
      <main className="landing">
        <h1>
          Meet in private.
          <br />
          <span className="accent">Really</span> in private.
        </h1>
        <p className="lead">
          Video meetings whose picture and sound only the people in them can decrypt. Not the network, and not this server.
        </p>
        <div className="landing-actions">
          <Button className="primary-button" onPress={() => navigate(makeRoomLink(location.origin, newRoomName(), newRoomSecret(), suite))}>
            New room <ArrowRight size={18} aria-hidden="true" />
          </Button>
          <span className="or">or</span>
          <Form
            className="room-form"
            onSubmit={(event) => {
              event.preventDefault();
              openNamed();
            }}
          >
            <TextField
              value={text}
              isInvalid={error !== null}
              onChange={(value) => {
                setText(value);
                setError(null);
              }}
            >
              <Label className="visually-hidden">Name of a room, or a link</Label>
              <Input placeholder="Name a room, or paste a link" autoComplete="off" spellCheck="false" maxLength={300} />
              <FieldError>{error}</FieldError>
            </TextField>
            <Button type="submit" className="secondary-button" isDisabled={text.trim() === ""}>
              Go
            </Button>
          </Form>
        </div>
        <details className="landing-more">
          <summary>Encryption of a new room: {suiteWords[suite].name}</summary>
          <SuiteSelect suite={suite} onChoose={setSuite} />
        </details>
        <ul className="promises">
          <li>
            <LockKeyhole aria-hidden="true" />
            <strong>Encrypted between you</strong>
            <span>Keys are agreed on your devices with MLS, the internet standard for groups, and renewed when someone comes or goes.</span>
          </li>
          <li>
            <KeyRound aria-hidden="true" />
            <strong>The link is the key</strong>
            <span>What stands after the # never leaves your browser. Who does not have it is not let in.</span>
          </li>
          <li>
            <ServerOff aria-hidden="true" />
            <strong>A server that knows little</strong>
            <span>It forwards what it cannot read, and you can host it yourself.</span>
          </li>
        </ul>
        <footer className="landing-footer">
          <AboutDialog />
        </footer>
      </main>
    </div>
  );
}
