import { randomBytes } from 'node:crypto'
import { opened, sealInto, tagLength } from '../src/encryption/aead.ts'
import { ClusterKeys, openBlock, sealBlock } from '../src/encryption/index.ts'
import type { Bench } from './bench.ts'
import { medianSeconds, mebibyte, mib } from './measure.ts'

const times = 5
const blocks = 128
const bytes = blocks * mebibyte

/** Sealing without anything else on one core, and its share of the time that the same bytes took to be put and fetched. */
export async function sealing ({ report, secondsPerByte }: Bench): Promise<void> {
  const payload = new Uint8Array(randomBytes(mebibyte))
  const target = new Uint8Array(mebibyte + tagLength)
  const aad = new Uint8Array(48)
  const keys = { key: randomBytes(32), nonce: randomBytes(12) }
  const secret = { kind: 'convergent', key: new ClusterKeys({ clusterId: new Uint8Array(16), names: new Uint8Array(32), epochs: new Map([[1, new Uint8Array(32)]]) }).domain(1, new Uint8Array(16)).convergence } as const
  const seal = (): ReturnType<typeof sealBlock> => sealBlock({ type: 'data', flag: 'plain', epoch: 1, payload, secret })
  const sealed = seal()
  const expected = { type: 'data', digest: sealed.digest, ph: sealed.ph, lengthBytes: sealed.bytes.byteLength } as const

  const each = (act: () => void): Promise<number> => medianSeconds(times, () => { for (let i = 0; i < blocks; i++) act() })
  const copy = await each(() => { target.set(payload) })
  const encrypt = await each(() => { sealInto(target, 0, keys, aad, payload) })
  const decrypt = await each(() => { if (opened(keys, aad, target) === undefined) throw new Error('what was sealed does not open') })
  const [whole, open] = [await each(seal), await each(() => openBlock(sealed.bytes, expected))]

  const against = (seconds: number): { ratio: number, against: string } => ({ ratio: copy / seconds, against: 'memcpy' })
  report.add('memcpy, one core', mib(bytes) / copy, 'MiB/s')
  report.add('encryption (AES-256-GCM), one core', mib(bytes) / encrypt, 'MiB/s', against(encrypt))
  report.add('decryption, one core', mib(bytes) / decrypt, 'MiB/s', against(decrypt))
  report.add('sealing and addressing a block, one core', mib(bytes) / whole, 'MiB/s', against(whole))
  report.add('checking and opening a block, one core', mib(bytes) / open, 'MiB/s', against(open))
  const shares = { put: [encrypt, whole, 'encryption', 'sealing and addressing'], get: [decrypt, open, 'decryption', 'checking and opening'] } as const
  for (const [name, [cipher, all, cipherName, allName]] of Object.entries(shares) as Array<['put' | 'get', typeof shares['put' | 'get']]>) {
    const perByte = secondsPerByte[name]
    if (perByte === undefined) { report.note(`its share of a ${name} is measured only when puts and fetches are (--only put,fetch,sealing)`); continue }
    const share = (seconds: number): number => seconds / bytes / perByte * 100
    report.add(`${cipherName}, share of the time of a ${name}`, share(cipher), '%', { target: { atMost: 5 } })
    report.add(`${allName}, share of the time of a ${name}`, share(all), '%', { target: { atMost: 15 } })
  }
}
