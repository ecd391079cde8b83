#!/usr/bin/env bash
# clang-format, ruff format, mdformat, shellcheck and clang-tidy over this checkout. What is unchanged since clang-tidy's
# last run is not examined again.
set -euo pipefail
export LC_ALL=C.UTF-8

usage() {
  cat <<'END'
usage: tests/lint.sh [--since COMMIT | --every | --all] [--fix]

Checks C++ with clang-format 14 and clang-tidy 14, Python with ruff format, pages with mdformat, and shell scripts with
shellcheck. One line per finding; exit 1 if there is any. clang-tidy reads build/release/compile_commands.json, which
launch/setup.sh --tests makes, and remembers each file's result in build/lint. By default it examines files that changed
since the upstream branch (without one, since HEAD~10), and a tenth of the others, another one each day.

  --since COMMIT  files that changed since COMMIT, and a tenth of the others
  --every         changed or not
  --all           every file, also those of tests/ and those that include LibTorch, and with the static analyzer (much longer)
  --fix           formats C++, Python and pages, checks nothing
END
}

tidy=()
fix=false
while (($#)); do
  case $1 in
    --all | --every) tidy+=("$1") ;;
    --since)
      if (($# < 2)); then
        printf 'lint.sh: --since lacks its commit\n' >&2
        exit 2
      fi
      tidy+=(--since "$2")
      shift
      ;;
    --fix) fix=true ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf "lint.sh: unknown argument '%s'\n" "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
failed=false

list_files() { # tracked and new files, without what git ignores; in a source archive, all but the usual outputs
  if [[ $(git rev-parse --show-prefix 2>/dev/null && echo top) == $'\ntop' ]]; then
    git ls-files -z --cached --others --exclude-standard --deduplicate
  else
    find . \( -path ./build -o -path ./.venv -o -path ./runs -o -name .git \) -prune -o -type f -printf '%P\0'
  fi
}

tool() { # NAME: version 14, since another version formats differently
  if command -v "$1-14"; then return; fi
  if [[ $("$1" --version 2>/dev/null) == *'version 14.'* ]]; then
    printf '%s' "$1"
    return
  fi
  printf 'lint.sh: %s 14 is missing: launch/setup.sh --tests installs it\n' "$1" >&2
  exit 1
}

report() { # NAME FILES FINDINGS REMEDY
  if [[ -z $3 ]]; then
    printf '[ok] %-13s %s files\n' "$1" "$2"
    return
  fi
  failed=true
  printf '%s\n' "$3"
  printf '[failed] %-9s %s findings in %s files%s\n' "$1" "$(wc -l <<<"$3")" "$2" "$4"
}

sources=()
scripts=()
modules=()
pages=()
while IFS= read -r -d '' file; do
  [[ -f $file ]] || continue
  case $file in
    *.h | *.cpp) sources+=("$file") ;;
    *.py) modules+=("$file") ;;
    docs/configuration.md) ;; # written by cskd config --markdown
    *.md) pages+=("$file") ;;
    *.h5 | *.png | *.jpg | *.toml | *.proto) ;;
    *)
      first=
      IFS= LC_ALL=C read -r -n 40 first <"$file" 2>/dev/null || true
      if [[ $file == *.sh || $first =~ ^'#!'.*[/\ ](ba)?sh ]]; then scripts+=("$file"); fi
      ;;
  esac
done < <(list_files | sort -z)

clang_format=$(tool clang-format)
ruff=.venv/bin/ruff
mdformat=.venv/bin/mdformat
for program in "$ruff" "$mdformat"; do
  if [[ ! -x $program ]]; then
    printf 'lint.sh: %s is missing: launch/setup.sh --tests installs it\n' "$program" >&2
    exit 1
  fi
done
if $fix; then
  if ((${#sources[@]})); then "$clang_format" -i -- "${sources[@]}"; fi
  if ((${#modules[@]})); then "$ruff" format --quiet -- "${modules[@]}"; fi
  if ((${#pages[@]})); then "$mdformat" -- "${pages[@]}"; fi
  printf '[ok] formatted %d files\n' "$((${#sources[@]} + ${#modules[@]} + ${#pages[@]}))"
  exit 0
fi

findings=
if ((${#sources[@]})); then
  findings=$("$clang_format" --dry-run -Werror -- "${sources[@]}" 2>&1 | awk -F: '
    / code should be clang-formatted/ {if (!places[$1]++) {order[++files] = $1; line[$1] = $2} next}
    /^[^: ]+:[0-9]+:[0-9]+: (fatal )?error:|^[Ee]rror / {print}
    END {for (i = 1; i <= files; i++) printf "%s:%s: not formatted (%d places)\n", order[i], line[order[i]], places[order[i]]}' || true)
fi
report clang-format "${#sources[@]}" "$findings" '; to format them: tests/lint.sh --fix'

findings=
if ((${#modules[@]})); then
  findings=$("$ruff" format --check --output-format concise -- "${modules[@]}" 2>&1 | grep -v 'files\? already formatted\|files\? would be' || true)
fi
report 'ruff format' "${#modules[@]}" "$findings" '; to format them: tests/lint.sh --fix'

findings=
if ((${#pages[@]})); then
  # A message may go over several lines, of at most 80 characters; its continuations are joined first.
  findings=$("$mdformat" --check -- "${pages[@]}" 2>&1 | root=$(pwd -P)/ awk '
    function tell() {
      start = "Error: File \"" ENVIRON["root"]
      if (index(text, start) == 1 && sub(/" is not formatted\.$/, ": not formatted", text)) text = substr(text, length(start) + 1)
      if (text != "") print text
      text = $0
    }
    /^Error: / {tell(); next}
    {text = text (text == "" ? "" : " ") $0}
    END {$0 = ""; tell()}' || true)
fi
report mdformat "${#pages[@]}" "$findings" '; to format them: tests/lint.sh --fix'

if ! command -v shellcheck >/dev/null; then
  printf 'lint.sh: shellcheck is missing: launch/setup.sh --tests installs it\n' >&2
  exit 1
fi
findings=
if ((${#scripts[@]})); then findings=$(shellcheck --format=gcc -- "${scripts[@]}" || true); fi
report shellcheck "${#scripts[@]}" "$findings" '; each code is explained by: shellcheck FILE'

clang_tidy=$(tool clang-tidy)
python3 -B tests/clang_tidy.py --tool "$clang_tidy" ${tidy[@]+"${tidy[@]}"} || failed=true

if $failed; then exit 1; fi
