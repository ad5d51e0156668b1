import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { InvalidInput } from '../../base/errors.ts'

export interface TlsFiles {
  /** PEM: the certificate, and those between it and its root. */
  readonly cert: string
  /** PEM, without a passphrase. */
  readonly key: string
}

export interface TlsSecrets {
  readonly cert: Buffer
  readonly key: Buffer
}

/** Reads both and has OpenSSL look at them. @throws InvalidInput that says which file, and what to do */
export async function readTls ({ cert, key }: TlsFiles): Promise<TlsSecrets> {
  const secrets = { cert: await contentOf('tls-cert', cert), key: await contentOf('tls-key', key) }
  try {
    createSecureContext(secrets)
  } catch (cause) {
    throw new InvalidInput('tls-cert', `${cert} and ${key} are no certificate and its key (${(cause as Error).message}); both are PEM, the key without a passphrase`, { cause })
  }
  return secrets
}

async function contentOf (field: string, path: string): Promise<Buffer> {
  try { return await readFile(path) } catch (cause) {
    throw new InvalidInput(field, `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`, { cause })
  }
}

export const isSame = (a: TlsSecrets, b: TlsSecrets): boolean => a.cert.equals(b.cert) && a.key.equals(b.key)
