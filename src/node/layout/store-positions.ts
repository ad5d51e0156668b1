import { ByteReader, ByteWriter, equals, hexOf } from '../../base/bytes.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { keyOf, type PeerId, peerIdOf } from '../../base/peer-id.ts'
import { FileMissing, type Files } from '../../disk/index.ts'
import type { Greeting, StorePosition } from '../../protocols/hello.ts'
import type { RowStore } from '../../tables/index.ts'
import type { ClusterState } from '../state.ts'

/**
 * A row store that was put back from a copy finds nothing wrong with itself. But its peers saw how far it had come: each keeps, on disk, the
 * highest position that it ever saw of every store, tells it to whoever shows that store, and does not ask one that shows less. Who is told of more than it
 * has disowns its store. What a store was told can only be less than it has, unless it forgot: a position is shown when it is on disk, and only rises.
 *
 * Only members are believed, who could do worse than make a store forget: a storage node holds no key, and is trusted with no more than ciphertext.
 */
export class StorePositions {
  readonly #parts: StorePositionsParts
  /** By whose it is: what another shows says nothing of it, whatever id it names. */
  readonly #seen: Map<PeerId, StorePosition>
  readonly #shown = new Map<PeerId, { readonly id: Uint8Array, readonly hasForgotten: boolean }>()
  #saving: Promise<void> = Promise.resolve()
  #isSaveWaiting = false

  private constructor (parts: StorePositionsParts, seen: Map<PeerId, StorePosition>) {
    this.#parts = parts
    this.#seen = seen
  }

  static async open (parts: StorePositionsParts): Promise<StorePositions> {
    return new StorePositions(parts, await readPositions(parts))
  }

  /** For a greeting: of this node's store, and of the peer's, which is the one it has just shown or the one the cluster knows. */
  shownTo (peer: PeerId, shown?: StorePosition): { readonly store: StorePosition, readonly yours: StorePosition | undefined } {
    const { rows, state } = this.#parts
    const id = shown?.id ?? namedStoreOf(state, peer)
    return { store: { id: rows.storeId, position: rows.position }, yours: id === undefined ? undefined : this.#seenOf(peer, id) }
  }

  /**
   * From the call on neither store is asked for what it forgot; when it resolves that is on disk. It never rejects. Nobody waits for it: between two
   * greetings there is no time for a disk, for a peer that is admitted here speaks, and must be admitted there to hear the answer.
   */
  async compare ({ peer, store, yours }: Pick<Greeting, 'peer' | 'store' | 'yours'>): Promise<void> {
    const { rows, state, warn } = this.#parts
    const hasForgotten = yours !== undefined && state.isMember(peer) && equals(yours.id, rows.storeId) && yours.position > rows.position
    const disowning = hasForgotten ? rows.disown(`${peer} has seen it at position ${yours.position}, and it is at ${rows.position}: an old copy was put back, or the disk forgot`) : undefined
    const saving = this.#see(peer, store)
    await Promise.all([
      disowning?.catch((error: unknown) => { warn('the loss could not be written down', error) }),
      saving?.catch((error: unknown) => { warn('the positions of row stores could not be saved', error) }),
    ])
  }

  /** The store that a peer has shown in its last greeting. */
  shownBy (peer: PeerId): Uint8Array | undefined { return this.#shown.get(peer)?.id }

  /** Whether the store that the peer showed last may be asked: it is the one that the cluster knows, with all that was ever seen of it. */
  remembers (peer: PeerId): boolean {
    const [shown, named] = [this.#shown.get(peer), namedStoreOf(this.#parts.state, peer)]
    return shown === undefined || named === undefined || (equals(shown.id, named) && !shown.hasForgotten)
  }

  /** Whether this node's own is the one that the cluster knows: with another it does not vote. */
  isOwnNamed (self: PeerId): boolean {
    const named = namedStoreOf(this.#parts.state, self)
    return named === undefined || equals(this.#parts.rows.storeId, named)
  }

  /** Whether it is the one that the cluster knows and showed less than before: it has forgotten, or two of its greetings came in another order than they were sent. The next one tells. */
  doubts (peer: PeerId): boolean {
    const [shown, named] = [this.#shown.get(peer), namedStoreOf(this.#parts.state, peer)]
    return shown !== undefined && named !== undefined && equals(shown.id, named) && shown.hasForgotten
  }

  #seenOf (peer: PeerId, id: Uint8Array): StorePosition | undefined {
    const seen = this.#seen.get(peer)
    return seen !== undefined && equals(seen.id, id) ? seen : undefined
  }

  #see (peer: PeerId, { id, position }: StorePosition): Promise<void> | undefined {
    const before = this.#seenOf(peer, id)?.position ?? -1n
    this.#shown.set(peer, { id, hasForgotten: position < before })
    const named = namedStoreOf(this.#parts.state, peer)
    if (named === undefined || !equals(named, id) || position <= before) return undefined
    this.#seen.set(peer, { id, position })
    return this.#save()
  }

  // one after the other; those that come while one waits share it
  #save (): Promise<void> {
    if (!this.#isSaveWaiting) {
      this.#isSaveWaiting = true
      this.#saving = this.#saving.catch(() => {}).then(async () => { // told to whom it was for
        this.#isSaveWaiting = false
        await writePositions(this.#parts.files, this.#seen)
      })
    }
    return this.#saving
  }
}

export interface StorePositionsParts {
  readonly files: Files
  readonly state: Pick<ClusterState, 'layout' | 'members' | 'isMember'>
  readonly rows: Pick<RowStore, 'storeId' | 'position' | 'disown'>
  readonly warn: (message: string, cause: unknown) => void
}

/** The id of the row store by which the cluster knows a node: an acceptor is its store, not its name. Undefined: not known, or it votes on nothing. */
export const namedStoreOf = ({ layout, members }: Pick<ClusterState, 'layout' | 'members'>, peer: PeerId): Uint8Array | undefined =>
  ([...layout.next?.members ?? [], ...layout.members].find(({ peerId }) => peerId === peer) ?? members.get(peer))?.storeId

const path = 'positions'
const magicOf = (version: number): Uint8Array => Uint8Array.of(0x44, 0x46, 0x53, 0x57, version)
const [first, magic] = [magicOf(1), magicOf(2)]

/** "DFSW" | 02 | n × (peer's key(32) | storeId(16) | u64 position) | H(all before)(32). */
async function writePositions (files: Files, seen: ReadonlyMap<PeerId, StorePosition>): Promise<void> {
  const writer = new ByteWriter().raw(magic)
  for (const [peer, { id, position }] of seen) writer.raw(keyOf(peer)).raw(id).u64(position)
  await files.writeDurable(path, [withDigest(writer.finish())])
}

async function readPositions ({ files, state, warn }: StorePositionsParts): Promise<Map<PeerId, StorePosition>> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  if (bytes === undefined) return new Map()
  const body = withoutDigest(bytes)
  const head = body?.subarray(0, magic.byteLength) ?? new Uint8Array()
  const reader = new ByteReader(body?.subarray(magic.byteLength) ?? new Uint8Array())
  if (equals(head, first)) return seenByStore(reader, state)
  const seen = new Map<PeerId, StorePosition>()
  // one flipped bit would have a peer forget all it has; what is lost here is a second look at stores that may well remember
  if (!equals(head, magic)) warn('the positions of other nodes\' row stores are damaged, and are seen afresh', new Error(`the checksum of ${path} does not fit`))
  else while (reader.remaining > 0) seen.set(peerIdOf(reader.raw(32)), { id: reader.raw(16).slice(), position: reader.u64() })
  return seen
}

/** Of the first version, which said nothing of whose a store is: each is taken for that of the node that the cluster knows by it. n × (storeId(16) | u64 position). */
function seenByStore (reader: ByteReader, state: StorePositionsParts['state']): Map<PeerId, StorePosition> {
  const positions = new Map<string, bigint>()
  while (reader.remaining > 0) positions.set(hexOf(reader.raw(16)), reader.u64())
  const { layout, members } = state
  const peers = [...[...layout.next?.members ?? [], ...layout.members].map(({ peerId }) => peerId), ...members.keys()]
  return new Map(peers.flatMap((peer) => {
    const id = namedStoreOf(state, peer)
    const position = id === undefined ? undefined : positions.get(hexOf(id))
    return id === undefined || position === undefined ? [] : [[peer, { id, position }]]
  }))
}
