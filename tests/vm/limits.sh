#!/bin/sh
# Tries [resources] and [sandbox] on a kernel that gives all controllers to cgroup v2, whatever this machine has: boots
# one in qemu (without KVM), with nothing in it but the test program of tests/runner.rs, wsup, and what the two call.
#
#     tests/vm/limits.sh [FILTER...]        default: resources sandbox
#
# Not part of `cargo test`, nor of CI: it takes a minute or two. Needs qemu-system-x86_64, cpio, and a kernel: the
# file named by KERNEL, otherwise one that apt-get downloads (Debian). Skips, with the reason, where these are missing.
# The exit code is the test program's.
set -eu
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $*"; exit 0; }
for program in qemu-system-x86_64 cpio ldd setpriv; do
    command -v "$program" > /dev/null || skip "$program is not installed"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${KERNEL:-}" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 2> /dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || skip "KERNEL is not set, and apt knows no linux-image-cloud-amd64"
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package") || skip "no kernel can be downloaded"
    dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
    KERNEL=$(find "$work/kernel/boot" -name 'vmlinuz-*' | head -n 1)
fi

# The test program has the path of wsup in it, so both stay where they are.
tests=$(cargo test --locked --no-run --test runner --message-format=json 2> /dev/null |
    sed -n 's/.*"executable":"\([^"]*\/runner-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$tests" ] || { echo "the tests cannot be built"; exit 1; }
target=$(dirname "$(dirname "$tests")")

root=$work/root
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/var/tmp" "$root/etc" "$root/run"
copy() { # a program and its libraries, each to its own place
    for each in "$1" $(ldd "$1" 2> /dev/null | grep -o '/[^ ]*'); do
        [ -e "$root$each" ] || { mkdir -p "$root$(dirname "$each")"; cp -L "$each" "$root$each"; }
    done
}
for name in sh cat sed dd sleep setpriv grep cut tr wc ls id stat touch mv rm mkdir mount env setsid chmod echo sort; do
    copy "$(command -v "$name" | grep / || echo "/bin/$name")"
done
for file in "$tests" "$target/wsup"; do
    copy "$file"
    strip --strip-debug "$root$file" 2> /dev/null || true
done
# Programs are looked for in both, as on a system with one of them.
[ -e "$root/bin/sh" ] || { mkdir -p "$root/bin"; cp "$root$(command -v sh)" "$root/bin/sh"; }
for from in /usr/bin /bin; do
    for to in /usr/bin /bin; do
        mkdir -p "$root$from" "$root$to"
        for file in "$root$from"/*; do
            [ -e "$root$to/${file##*/}" ] || cp "$file" "$root$to/"
        done
    done
done
cat > "$root/init" << END
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp /var/tmp
export PATH=/usr/bin:/bin HOME=/
cat /proc/version; cat /sys/fs/cgroup/cgroup.controllers
cd /tmp
for filter in ${*:-resources sandbox}; do
    "$tests" --test-threads=1 --nocapture "\$filter" || failed=1
done 2>&1
echo "exit code: \${failed:-0}"
echo o > /proc/sysrq-trigger
sleep 60
END
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) > "$work/initrd"

timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -m 1024 -nodefaults -no-user-config \
    -display none -no-reboot -kernel "$KERNEL" -initrd "$work/initrd" -serial stdio \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable" | tr -d '\r' | tee "$work/said"
exit "$(sed -n 's/^exit code: \([0-9]*\)$/\1/p' "$work/said" | tail -n 1 | grep . || echo 1)"
