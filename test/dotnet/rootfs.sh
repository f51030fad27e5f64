#!/bin/sh
# rootfs.sh ROOT SDK [DIR] completes a Debian tree in ROOT, as a hook of
# mmdebstrap: it gets the .NET SDK in directory SDK, and the session's user.
#
# That SDK looks for OpenSSL 1.1, and Debian has 3: a library between them has
# the three functions that were renamed or dropped.
set -eu
root=$1 sdk=$2
mkdir -p "$root/usr/share/dotnet"
cp -a "$sdk/." "$root/usr/share/dotnet/"
chmod 755 "$root/usr/share/dotnet/dotnet"
ln -s ../share/dotnet/dotnet "$root/usr/bin/dotnet"

lib=$(dirname "$(find "$root/usr/lib" -name libssl.so.3)")
cat >"$root/compat.c" <<'C'
int EVP_MD_get_size(const void *md);
void *SSL_get1_peer_certificate(const void *ssl);
int EVP_MD_size(const void *md) { return EVP_MD_get_size(md); }
void *SSL_get_peer_certificate(const void *ssl) { return SSL_get1_peer_certificate(ssl); }
void ERR_put_error(int lib, int func, int reason, const char *file, int line) {}
C
gcc -shared -fPIC -o "$lib/libssl.so.1.1" "$root/compat.c" -Wl,--no-as-needed -Wl,--allow-shlib-undefined -L"$lib" -l:libssl.so.3 -l:libcrypto.so.3
rm "$root/compat.c"

printf 'sandbox:x:1000:1000::/home/sandbox:/bin/bash\n' >>"$root/etc/passwd"
printf 'sandbox:x:1000:\n' >>"$root/etc/group"
install -d -o 1000 -g 1000 "$root/workspace" "$root/home/sandbox"
