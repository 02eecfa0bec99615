import { defineConfig } from 'vite'

// One page, whose files' names carry a hash of their bytes. Nothing is inlined
// as script, because the page's policy forbids it.
export default defineConfig({
  base: '/',
  build: { outDir: 'build', emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 4000 },
})
