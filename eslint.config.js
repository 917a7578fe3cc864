import js from '@eslint/js'
import ts from 'typescript-eslint'

export default ts.config(
  { ignores: ['dist-js', 'target', 'api-iife.js'] },
  js.configs.recommended,
  ...ts.configs.strict,
  {
    files: ['guest-js/**/*.ts'],
    languageOptions: { globals: { $state: 'readonly', $derived: 'readonly', $effect: 'readonly' } },
  },
)
