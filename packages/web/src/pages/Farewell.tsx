import type { RoomName } from "@satsuma/core";
import { useEffect, type JSX } from "react";
import { Button } from "react-aria-components";

import { Brand } from "../components/Brand.tsx";
import { navigate } from "../navigation.ts";

export function Farewell({ room, onReturn }: { readonly room: RoomName; readonly onReturn: () => void }): JSX.Element {
  useEffect(() => {
    document.title = "You left – Satsuma";
  }, []);
  return (
    <div className="page">
      <header className="page-header">
        <Brand />
      </header>
      <main className="message-page">
        <h1>You left “{room}”</h1>
        <p>Your keys for this call are gone from this device. The others have new ones, which you do not hold.</p>
        <div className="row">
          <Button className="primary-button" onPress={onReturn} autoFocus>
            Return to the room
          </Button>
          <Button className="secondary-button" onPress={() => navigate("/")}>
            Home
          </Button>
        </div>
      </main>
    </div>
  );
}
