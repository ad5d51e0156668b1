import type { Registers } from '../../src/tables/index.ts'

/** The registers with some methods in other words. */
export const registersWith = (registers: Registers, other: Partial<Registers>): Registers => ({
  read: async (...args) => registers.read(...args),
  list: async (...args) => registers.list(...args),
  change: async (...args) => registers.change(...args),
  ...other,
})
