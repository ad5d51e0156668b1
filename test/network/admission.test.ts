import type { Connection, Stream } from '@libp2p/interface'
import { describe, expect, test } from 'vitest'
import type { PeerId } from '../../src/base/peer-id.ts'
import { Admission } from '../../src/network/admission.ts'

const peer = 'a peer' as PeerId
const connection = { remotePeer: { toString: () => peer } } as unknown as Connection

/** A protocol behind admission: what came through, and how often it was refused. */
function door (admission: Admission): { open: () => Promise<void>, told: string[] } {
  const told: string[] = []
  const handler = admission.guarded(async () => { told.push('through') })
  const stream = { abort: () => { told.push('refused') } } as unknown as Stream
  return { told, open: async () => { await handler(stream, connection) } }
}

describe('a stream that a peer opens', () => {
  test('is refused at once while nobody greets it, and let through when it is admitted', async () => {
    const admission = new Admission()
    const { open, told } = door(admission)
    await open()
    admission.admit(peer)
    await open()
    admission.expel(peer)
    await open()
    expect(told).toEqual(['refused', 'through', 'refused'])
  })

  test('between its admitting us and our hearing of it waits for the greeting to end', async () => {
    const admission = new Admission()
    const { open, told } = door(admission)
    const greeting = Promise.withResolvers<void>()
    admission.proving(peer, greeting.promise.then(() => { admission.admit(peer) }))
    const opened = open()
    await Promise.resolve()
    expect(told).toEqual([])
    greeting.resolve()
    await opened
    expect(told).toEqual(['through'])
  })

  test('is refused when the greeting fails', async () => {
    const admission = new Admission()
    const { open, told } = door(admission)
    const greeting = Promise.withResolvers<void>()
    admission.proving(peer, greeting.promise)
    const opened = open()
    greeting.reject(new Error('no member'))
    await opened
    expect(told).toEqual(['refused'])
    // and is not waited for any more
    await open()
    expect(told).toEqual(['refused', 'refused'])
  })
})
