/** Dialogs: the browser keeps the keyboard in them, closes them with Escape, and gives the focus back. */

import type { Attachment } from 'svelte/attachments'

/** Shows it for as long as it is on the page. */
export const modal: Attachment<HTMLDialogElement> = (dialog) => {
  dialog.showModal()
  return () => dialog.close()
}
