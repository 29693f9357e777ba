/** Files on their way to the service. */

import { parseAnswer } from '../words/advice'
import { loggedIn, Problem, reachable } from './client'

/** Send a file and tell how much of it is there. Only XMLHttpRequest knows how far an upload is. Throws a Problem. */
export function sendFile<Answer>(
  method: 'PUT' | 'POST',
  path: string,
  content: Blob,
  tell: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest()
    sending.open(method, path)
    sending.setRequestHeader('Content-Type', 'application/octet-stream')
    sending.setRequestHeader('Accept', 'application/json')
    sending.upload.onprogress = (event) => tell(event.loaded)
    sending.onload = () => {
      const body = readJson(sending.responseText)
      if (sending.status < 300) return resolve(body as Answer)
      if (sending.status === 401) loggedIn.value = false
      reject(new Problem(sending.status, body.code ?? 'unknown', body.detail ?? `The service answered ${sending.status}.`))
    }
    sending.onerror = () => {
      reachable.value = false
      reject(new Problem(0, 'unreachable', 'The connection broke. Send the file again: it begins anew.'))
    }
    sending.onabort = () => reject(new Problem(0, 'stopped', 'You have stopped the upload.'))
    signal.addEventListener('abort', () => sending.abort())
    sending.send(content)
  })
}

function readJson(text: string): { code?: string; detail?: string } {
  try {
    return parseAnswer(text)
  } catch {
    return {}
  }
}
