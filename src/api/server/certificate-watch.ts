import type { Clock } from '../../base/clock.ts'
import type { ApiLog } from './listener.ts'
import { isSame, readTls, type TlsFiles, type TlsSecrets } from './tls-files.ts'

export interface CertificateWatchOptions {
  /** For the log. */
  readonly name: string
  readonly files: TlsFiles | undefined
  /** What was read of them. */
  readonly tls: TlsSecrets | undefined
  readonly setTls: (secrets: TlsSecrets) => void
  readonly everyMs: number
  readonly clock: Clock
  readonly log: ApiLog
}

/** Looks at the files again and again: whoever renews a certificate replaces them, and need not tell. Without files it does nothing. */
export function watchedCertificate ({ name, files, tls, setTls, everyMs, clock, log }: CertificateWatchOptions): { reload: () => Promise<void>, end: () => void } {
  let current = tls
  let hasEnded = false
  let cancel = (): void => {}
  const reload = async (): Promise<void> => {
    if (files === undefined || current === undefined) return
    try {
      const read = await readTls(files)
      if (isSame(read, current)) return
      setTls(read)
      current = read
      log.info({ face: name }, 'the new certificate is in use')
    } catch (err) {
      log.error({ face: name, err }, 'the certificate could not be read again; the old one stays in use')
    }
  }
  const next = (): void => { if (!hasEnded) cancel = clock.after(everyMs, () => { void reload().then(next) }) }
  if (tls !== undefined) next()
  return { reload, end: () => { hasEnded = true; cancel() } }
}
