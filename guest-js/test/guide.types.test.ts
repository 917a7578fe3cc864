// @vitest-environment node
/** The guide's code has the types that it says it has. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

import ts from 'typescript'
import { expect, test } from 'vitest'

import { guide } from './guide.js'

const FILE = resolve(import.meta.dirname, 'guide.virtual.ts')

test('the guide is strictly typed', { timeout: 60_000 }, () => {
  const config = resolve(import.meta.dirname, '../tsconfig.json')
  const { options } = ts.getParsedCommandLineOfConfigFile(
    config,
    { paths: { 'tauri-plugin-sync-api': [resolve(import.meta.dirname, '../index.ts')] } },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined },
  ) ?? { options: {} }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  const code = guide(readFileSync)
  expect(code).not.toBe('')
  host.fileExists = (name) => name === FILE || fileExists(name)
  host.readFile = (name) => (name === FILE ? code : readFile(name))
  host.getSourceFile = (name, target, ...rest) =>
    name === FILE ? ts.createSourceFile(name, code, target) : getSourceFile(name, target, ...rest)
  const found = ts.getPreEmitDiagnostics(ts.createProgram([FILE], options, host))
  expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
})
