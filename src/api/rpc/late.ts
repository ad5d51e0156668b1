import type { Incoming, Refusal } from '../server/listener.ts'
import type { RpcFace, RpcFaceOptions } from './face.ts'

/**
 * gRPC, gRPC-Web and Connect beside another face at one port, loaded when the first call comes: the library and what it knows of every message take a tenth of
 * a start's processor time, and most nodes never hear a call.
 */
export class LateRpc<I extends Incoming> {
  readonly #options: RpcFaceOptions<I>
  #loading: Promise<Loaded<I>> | undefined
  #loaded: Loaded<I> | undefined

  constructor (options: RpcFaceOptions<I>) { this.#options = options }

  /** What answers the path, if it is of a call that there is. */
  async of (path: string): Promise<Pick<RpcFace<I>, 'answer'> | undefined> {
    if (!callPath.test(path)) return undefined
    this.#loading ??= this.#load()
    const { face } = this.#loaded = await this.#loading
    return face.has(path) ? face : undefined
  }

  /** An error in the words of the protocol, if the path is of a call: `of` has been asked before. */
  refusalOf (error: unknown, incoming: I): Refusal | undefined {
    return this.#loaded?.face.has(incoming.path) === true ? this.#loaded.refusalOf(error, incoming) : undefined
  }

  async #load (): Promise<Loaded<I>> {
    const { rpcFace, rpcRefusalOf } = await import('./face.ts')
    return { face: rpcFace(this.#options), refusalOf: rpcRefusalOf }
  }
}

interface Loaded<I extends Incoming> {
  readonly face: RpcFace<I>
  readonly refusalOf: (error: unknown, incoming: I) => Refusal
}

/** As every path of every service here begins: proto/. */
const callPath = /^\/(dfs|grpc)\./
