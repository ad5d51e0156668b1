import type { PeerId } from '../base/peer-id.ts'
import type { HandlerLimits, Requests } from '../network/index.ts'
import { messageLimits } from '../tables/messages.ts'
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest } from '../tables/messages-codec.ts'
import type { TablePeers } from '../tables/registers.ts'
import type { TableReplica } from '../tables/replica.ts'

/** Questions to the replicas of rows: prepare, accept, hand over, read, list, digest, ballots. docs/PROTOCOLS.md has the bytes. */
export const tableProtocol = '/dfs/table/1.0.0'

export const tableProtocolLimits = {
  ...messageLimits,
  /** Questions of one peer in work at once; each holds a record at most, so 16 MiB of records a peer. */
  maxConcurrent: 256,
  /** Longer than any round waits: rounds have time limits of their own. */
  timeoutMs: 10_000,
} as const

const handlerLimits: HandlerLimits = { maxRequestBytes: tableProtocolLimits.maxRequestBytes, maxConcurrent: tableProtocolLimits.maxConcurrent }

/**
 * Answers peers' questions from now on. Malformed ones, and those the replica refuses, are told to the asker as refused.
 * Whoever asks has passed hello; what it may ask is the replica's to say.
 */
export async function serveTables (requests: Requests, replica: TableReplica): Promise<void> {
  await requests.handle(tableProtocol, async (peer, body) => [encodeAnswer(await replica.answer(peer, decodeRequest(body)))], handlerLimits)
}

/** The replicas of other nodes, over the network. `reachable` tells which peers are connected now. */
export function tablePeers (requests: Requests, reachable: () => ReadonlySet<PeerId>): TablePeers {
  return {
    reachable,
    async ask (peer, request, { signal }) {
      const { timeoutMs, maxAnswerBytes } = tableProtocolLimits
      return decodeAnswer(await requests.request(peer, tableProtocol, [encodeRequest(request)], { signal, timeoutMs, maxAnswerBytes }))
    },
  }
}
