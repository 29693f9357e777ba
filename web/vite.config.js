import { existsSync, readFileSync } from 'node:fs'

import { defineConfig } from 'vite'

// `npm run dev` serves the pages anew after each change; the API is that of a running `heldout up`.
const api = process.env.HELDOUT_URL ?? 'http://127.0.0.1:8000'

/** The server reads from the build which addresses have pages: `api/dashboard.py`. */
const pages = {
  name: 'pages',
  generateBundle() {
    const source = readFileSync('src/pages.json', 'utf-8')
    for (const { page } of JSON.parse(source)) {
      if (!existsSync(`src/pages/${page}/page.tsx`)) this.error(`src/pages/${page}/page.tsx is not there`)
    }
    this.emitFile({ type: 'asset', fileName: 'pages.json', source })
  },
}

export default defineConfig({
  plugins: [pages],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../api/static',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false }, // it would be an inline script
    assetsInlineLimit: 0, // the policy allows no data: addresses
    cssCodeSplit: false,
  },
  server: { proxy: { '/v1': api, '/openapi.json': api } },
})
