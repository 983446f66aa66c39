import type { JSX } from "react";
import { Button, DialogTrigger } from "react-aria-components";

import packageJson from "../../package.json";
import { TitledDialog } from "./TitledDialog.tsx";

/** What somebody who is responsible for security wants to know before others talk here; docs/threat-model.md has all of it. */
export function AboutDialog(): JSX.Element {
  return (
    <DialogTrigger>
      <Button className="link-button">What is protected, and what is not</Button>
      <TitledDialog title="What is protected, and what is not" className="about">
        <h3>Only the people in the call</h3>
        <ul>
          <li>
            see, hear and read it. Their browsers agree on keys among themselves (MLS, RFC 9420) and encrypt each frame of picture and sound before it leaves (SFrame, RFC 9605). That cannot be
            turned off.
          </li>
          <li>learn the others’ names. The list of participants comes from the encrypted group, and the safety number, compared, shows that nobody sits in between.</li>
          <li>are protected later too: keys are destroyed after use and renewed when somebody comes or goes, so that a device that is stolen tomorrow opens no call of today.</li>
        </ul>
        <h3>The server learns</h3>
        <ul>
          <li>the name of the room, network addresses, who comes and goes when, and how many there are,</li>
          <li>which of microphone, camera and screen are on, and the sizes and times of what is sent: roughly, who talks when, and that somebody writes in the chat,</li>
          <li>whose picture each has on the screen, and how large: it sends no others,</li>
          <li>how loud a microphone is, only if its owner allowed that. Names, pictures, sound and messages it does not learn.</li>
        </ul>
        <h3>What encryption cannot do</h3>
        <ul>
          <li>This page itself comes from the server. Who controls that could deliver another page: use a server that you or people you trust run.</li>
          <li>Whoever has the link can enter, visibly to all. Send it over a channel that you trust.</li>
          <li>Any participant can record the call.</li>
        </ul>
        <p>
          <strong>Satsuma has not been audited by anybody independent yet.</strong>
        </p>
        <p className="hint">
          Satsuma {packageJson.version}, free software under the Apache License 2.0.{" "}
          <a href="/NOTICE.txt" target="_blank" rel="noreferrer">
            What it is made with
          </a>
        </p>
      </TitledDialog>
    </DialogTrigger>
  );
}
