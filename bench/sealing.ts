import { randomBytes } from 'node:crypto'
import { opened, sealInto, tagLength } from '../src/encryption/aead.ts'
import { ClusterKeys, openBlock, sealBlock, type SealedBlock } from '../src/encryption/index.ts'
import type { Bench } from './bench.ts'
import { medianSeconds, mebibyte, mib } from './measure.ts'

const times = 5
const blocks = 64
const bytes = blocks * mebibyte

/** Sealing without anything else on one core, and its share of the time that the same bytes took to be put and fetched. */
export async function sealing ({ report, secondsPerByte }: Bench): Promise<void> {
  // as much as is sealed: what lies in the processor's cache would be copied many times as fast as it ever is
  const memory = new Uint8Array(randomBytes(bytes))
  const payloads = Array.from({ length: blocks }, (_, i) => memory.subarray(i * mebibyte, (i + 1) * mebibyte))
  const copies = new Uint8Array(bytes)
  const aad = new Uint8Array(48)
  const keys = { key: randomBytes(32), nonce: randomBytes(12) }
  const secret = { kind: 'convergent', key: new ClusterKeys({ clusterId: new Uint8Array(16), names: new Uint8Array(32), epochs: new Map([[1, new Uint8Array(32)]]) }).domain(1, new Uint8Array(16)).convergence } as const
  const seal = (payload: Uint8Array): SealedBlock => sealBlock({ type: 'data', flag: 'plain', epoch: 1, payload, secret })
  const encryptions = payloads.map((payload) => { const target = new Uint8Array(mebibyte + tagLength); sealInto(target, 0, keys, aad, payload); return target })
  const sealed = payloads.map(seal)

  const each = <T>(of: readonly T[], act: (one: T, index: number) => void): Promise<number> => medianSeconds(times, () => { for (const [i, one] of of.entries()) act(one, i) })
  const copy = await each(payloads, (payload, i) => { copies.set(payload, i * mebibyte) })
  const encrypt = await each(payloads, (payload, i) => { sealInto(encryptions[i] ?? aad, 0, keys, aad, payload) })
  const decrypt = await each(encryptions, (encryption) => { if (opened(keys, aad, encryption) === undefined) throw new Error('what was sealed does not open') })
  const whole = await each(payloads, seal)
  const open = await each(sealed, ({ bytes: block, digest, ph }) => { openBlock(block, { type: 'data', digest, ph, lengthBytes: block.byteLength }) })

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
