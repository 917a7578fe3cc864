/** The code in the guide, which is tried as it stands there. */

/** The guide's TypeScript, all of it one after the other. Takes the function that reads a file. */
export function guide(read: (file: URL, encoding: 'utf8') => string): string {
  const text = read(new URL('../../docs/SYNC_YOUR_APP.md', import.meta.url), 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code).join('\n')
}
