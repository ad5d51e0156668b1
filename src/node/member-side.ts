import type { Logger } from 'pino'
import type { Clock } from '../base/clock.ts'
import { keyOf } from '../base/peer-id.ts'
import type { Random } from '../base/random.ts'
import { encodeMemberRow } from '../cluster/index.ts'
import type { Config } from '../config.ts'
import type { Files } from '../disk/index.ts'
import type { ClusterKeys, Keyring, KeyringKey } from '../encryption/index.ts'
import type { Network } from '../network/libp2p-network.ts'
import { joinProtocol } from '../protocols/join.ts'
import type { RingPeers } from '../protocols/ring.ts'
import type { RowCodec } from '../tables/index.ts'
import type { DiskRows } from '../tables/row-store.ts'
import { Epochs } from './membership/epochs.ts'
import type { EraChangeParts } from './membership/era-change.ts'
import { Latecomers } from './membership/latecomers.ts'
import type { Eras } from './membership/eras.ts'
import { everyMemberRow } from './membership/every-member.ts'
import type { Greetings } from './membership/greetings.ts'
import { LayoutKeeper } from './layout/layout-keeper.ts'
import { memoryOfThoseWho } from './membership/memory.ts'
import { memberRowHash, writeFoundation } from './membership/membership.ts'
import { algorithmIn } from './membership/sessions.ts'
import type { ClusterState } from './state.ts'
import type { StorePositions } from './layout/store-positions.ts'
import type { TableEngine } from './rows/table-engine.ts'

export interface MemberSideParts {
  readonly config: Pick<Config, 'evictAfterMs'>
  readonly files: Files
  readonly keyring: Keyring & { readonly ring: NonNullable<Keyring['ring']> }
  /** What seals the keyring when an epoch begins. */
  readonly key: KeyringKey
  readonly keys: ClusterKeys
  readonly state: ClusterState
  readonly network: Network
  readonly tables: Pick<TableEngine, 'registers' | 'ask' | 'voters'>
  readonly rows: Pick<DiskRows, 'storeId'>
  readonly codec: RowCodec
  readonly positions: StorePositions
  readonly greetings: Greetings
  readonly eras: Eras
  readonly rings: RingPeers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Pick<Logger, 'info'>
  readonly warn: (message: string, cause: unknown) => void
}

export interface MemberSide {
  readonly epochs: Epochs
  readonly eraParts: EraChangeParts
  readonly keeper: LayoutKeeper
}

/** What a node does for who belongs, because it holds the data key: it lets others join, makes eras and epochs, and has the layout follow. */
export async function memberSideOf (parts: MemberSideParts): Promise<MemberSide> {
  const { config, files, keyring, key, keys, state, network, tables: { registers, ask, voters }, rows, codec, positions, greetings, eras, rings, clock, random, logger, warn } = parts
  const self = network.peerId
  const memberRows: EraChangeParts['memberRows'] = async (wait) => everyMemberRow({ state, codec, ask, registers, voters }, wait)
  const epochs = new Epochs({ files, keyring, key, keys, state, random, clock, peers: rings, members: () => greetings.members() })
  await joinProtocol({
    clusterId: state.clusterId, authority: state.authority, certificate: () => state.certificate, era: () => state.era, hearEra: async (wait) => eras.ask(wait), registers, clock,
    memberRows: async (wait) => (await memberRows(wait)).map(encodeMemberRow),
    sealRing: (to) => epochs.ringFor(to),
    vouched: (peer, ms) => { network.allowTime(peer, ms) },
    joined: (peer) => { logger.info({ peer }, 'a node has joined'); void memberRowHash(state, () => registers, keyOf(peer)).catch((error: unknown) => { warn('a new member\'s row could not be read', error) }) },
  }).register(network.requests)
  await writeFoundation(state, registers, self)
  return {
    epochs,
    eraParts: {
      self, state, keyring, eras, epochs, latecomers: new Latecomers({ clock, warn }), registers, peers: rings, memberRows, voters, warn,
      spread: async () => { await greetings.greetAll() },
      reachable: () => new Set(network.reachable()),
      remembers: (peer) => peer === self ? positions.isOwnNamed(self) : positions.remembers(peer),
      memoryOf: async (peers, wait) => memoryOfThoseWho({ ask }, peers, wait),
    },
    keeper: new LayoutKeeper({
      self, state, registers, ask, clock, memberRows, evictAfterMs: config.evictAfterMs,
      reachable: () => new Set([self, ...network.reachable()]),
      algorithmOf: (peer) => { const greeting = greetings.all.get(peer); return greeting === undefined ? 1 : algorithmIn(greeting) },
      storeOf: (peer) => peer === self ? rows.storeId : positions.shownBy(peer),
      onChange: (layout, why) => {
        logger.info({ version: String(layout.version), state: layout.state, why }, 'the layout changes')
        void greetings.greetAll().catch((error: unknown) => { warn('not everybody could be told of the new layout', error) })
      },
    }),
  }
}
