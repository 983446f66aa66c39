import { Monitor, Moon, Sun } from "lucide-react";
import { useState, type JSX } from "react";
import { Button } from "react-aria-components";

import { applyTheme, storedTheme, type Theme } from "../theme.ts";

const next: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const labels: Readonly<Record<Theme, string>> = {
  system: "Colours: as the system",
  light: "Colours: light",
  dark: "Colours: dark",
};

export function ThemeButton(): JSX.Element {
  const [theme, setTheme] = useState(storedTheme);
  const Icon = { system: Monitor, light: Sun, dark: Moon }[theme];
  return (
    <Button
      className="icon-button quiet"
      aria-label={labels[theme]}
      onPress={() => {
        applyTheme(next[theme]);
        setTheme(next[theme]);
      }}
    >
      <Icon size={18} aria-hidden="true" />
    </Button>
  );
}
