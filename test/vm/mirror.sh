# Debian's mirror: the one of the host's apt, reached as that reaches it. It is
# sourced.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# mirror_of LABEL DEFAULT prints the host's mirror of one of Debian's archives.
mirror_of() {
  apt-get indextargets 'Created-By: Packages' --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' |
    awk -F '|' -v label="$1" -v found="$2" '
      $1 == "Debian" && $2 == label && $3 ~ /^https?:/ { found = $3; exit }
      END { sub(/\/$/, "", found); print found }'
}

# dists SUITE prints the directories, one URL a line, of a release, its updates
# and its security updates.
dists() {
  local archive security
  archive=$(mirror_of Debian http://deb.debian.org/debian)
  security=$(mirror_of Debian-Security http://deb.debian.org/debian-security)
  printf '%s/dists/%s\n' "$archive" "$1" "$archive" "$1-updates" "$security" "$1-security"
}

# sources SUITE prints lines for apt's sources.list.
sources() {
  dists "$1" | sed -E "s|(.*)/dists/(.*)|deb [signed-by=$keyring] \\1 \\2 main|"
}

# release_state SUITE prints a digest of what packages the mirror has: of the
# index alone, as a mirror signs the same packages anew several times a day. It
# fails where the mirror cannot be reached.
release_state() {
  local dir url list
  dir=$(mktemp -d "$work/release.XXXXXXXX")
  list=$(dists "$1")
  for url in $list; do
    /usr/lib/apt/apt-helper download-file "$url/InRelease" "$dir/one" >/dev/null 2>&1 || return 1
    grep -E '^ [0-9a-f]{64} .* main/binary-amd64/Packages\.xz$' "$dir/one"
  done | digest
}

# apt_options prints the part of the host's apt configuration that is about
# reaching a mirror, such as its proxies.
apt_options() {
  apt-config dump | grep -iE '^Acquire::(https?::|Check-Date |Check-Valid-Until |ForceIPv[46] |Max-ValidTime|Retries )' |
    grep -v ' "";$' || true
}
