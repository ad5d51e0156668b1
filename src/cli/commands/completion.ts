import type { Command } from 'commander'
import { InvalidInput } from '../../base/errors.ts'

/** `dfs completion SHELL`: a script made from the commands themselves, so that it cannot fall behind them. */
export function completion (shell: string, dfs: Command): void {
  const make = { bash, zsh, fish }[shell]
  if (make === undefined) throw new InvalidInput('shell', `shell is "${shell}"; it takes bash, zsh or fish`)
  process.stdout.write(make(wordsOf(dfs)))
}

interface Words { readonly name: string, readonly description: string, readonly options: readonly string[], readonly commands: readonly Words[] }

const wordsOf = (command: Command): Words => ({
  name: command.name(),
  description: command.description(),
  options: [...command.options.flatMap(({ long }) => long ?? []), '--help'],
  commands: command.commands.map(wordsOf),
})

function bash ({ commands }: Words): string {
  const names = commands.map(({ name }) => name).join(' ')
  const offered = ({ options, commands: below }: Words): string => [...below.map(({ name }) => name), ...options].join(' ')
  // "bucket create" stands before "bucket", whose pattern would match it too
  const cases = commands.flatMap((command) => [
    ...command.commands.map((below) => `    '${command.name} ${below.name}') words='${offered(below)}' ;;`),
    `    '${command.name} '*) words='${offered(command)}' ;;`,
  ])
  return `# dfs completion bash > /etc/bash_completion.d/dfs
_dfs() {
  local words below=
  [ "$COMP_CWORD" -gt 2 ] && below="\${COMP_WORDS[2]}"
  case "\${COMP_WORDS[1]} $below" in
${cases.join('\n')}
  esac
  [ "$COMP_CWORD" -eq 1 ] && words='${names}'
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _dfs dfs
`
}

function zsh (words: Words): string {
  return `#compdef dfs
# dfs completion zsh > "\${fpath[1]}/_dfs"
autoload -U +X bashcompinit && bashcompinit
${bash(words)}`
}

function fish ({ commands }: Words): string {
  const names = commands.map(({ name }) => name).join(' ')
  const quoted = (text: string): string => `'${text.replaceAll('\'', '\\\'')}'`
  return `# dfs completion fish > ~/.config/fish/completions/dfs.fish
${commands.map(({ name, description }) => `complete -c dfs -n "not __fish_seen_subcommand_from ${names}" -a ${name} -d ${quoted(description)}`).join('\n')}
${commands.flatMap(({ name, options, commands: below }) => [
    ...options.map((option) => `complete -c dfs -n "__fish_seen_subcommand_from ${name}" -l ${option.slice(2)}`),
    ...below.flatMap((command) => [
      `complete -c dfs -n "__fish_seen_subcommand_from ${name}" -a ${command.name} -d ${quoted(command.description)}`,
      ...command.options.map((option) => `complete -c dfs -n "__fish_seen_subcommand_from ${name}; and __fish_seen_subcommand_from ${command.name}" -l ${option.slice(2)}`),
    ]),
  ]).join('\n')}
`
}
