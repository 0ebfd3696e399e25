import { defineConfig } from "vite";

export default defineConfig({
  base: "/static/dist/",
  build: {
    manifest: "manifest.json",
    target: "es2022",
    assetsInlineLimit: 0,
    rollupOptions: { input: "src/main.ts" },
  },
});
