// The package as the official plugins ship theirs: ESM and CJS, and one file that puts the same functions into
// `window.__TAURI__.sync` for pages without a bundler. The Svelte entry keeps its runes, for the app's own compiler.

import { nodeResolve } from '@rollup/plugin-node-resolve'
import terser from '@rollup/plugin-terser'
import typescript from '@rollup/plugin-typescript'

const input = 'guest-js/index.ts'
// `tsc` writes the types, and checks them.
const compile = () => typescript({ tsconfig: 'guest-js/tsconfig.json' })

export default [
  {
    input,
    output: [
      { file: 'dist-js/index.js', format: 'esm' },
      { file: 'dist-js/index.cjs', format: 'cjs' },
    ],
    plugins: [compile()],
    external: [/^@tauri-apps\/api/],
  },
  {
    input: 'guest-js/svelte/index.svelte.ts',
    output: { file: 'dist-js/svelte/index.svelte.js', format: 'esm', paths: (id) => (/index(\.js|\.ts)$/.test(id) ? '../index.js' : id) },
    plugins: [compile()],
    external: [/\.\.\/index\.js$/],
  },
  {
    input: 'guest-js/inspector/index.ts',
    output: { file: 'dist-js/inspector/index.js', format: 'esm', paths: (id) => (/index(\.js|\.ts)$/.test(id) ? '../index.js' : id) },
    plugins: [compile()],
    external: [/\.\.\/index\.js$/],
  },
  {
    input,
    output: {
      file: 'api-iife.js',
      format: 'iife',
      name: '__TAURI_PLUGIN_SYNC__',
      banner: "if ('__TAURI__' in window) {",
      footer: "Object.defineProperty(window.__TAURI__, 'sync', { value: __TAURI_PLUGIN_SYNC__ }) }",
    },
    plugins: [compile(), terser(), nodeResolve()],
  },
]
