import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  worker: { format: "es" },
  build: {
    target: "es2022",
    // The server sends scripts and styles with a policy that forbids inline ones, so nothing may be inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npm run dev -w packages/web` beside a running satsumad.
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:8080", ws: true } } },
});
