#!/bin/bash
# Installs what is missing of the packages that building, demonstration and tests need (Debian 12, Ubuntu 24.04).
# Asks nothing, touches the network only when something is missing, starts no service of what it installs.
set -euo pipefail

build=(gcc libc6-dev make pkg-config libevent-dev libc-ares-dev libsystemd-dev libfyaml-dev libnftables-dev libmnl-dev
       libnftnl-dev libnetfilter-log-dev libnetfilter-conntrack-dev libjansson-dev
       libssl-dev)
demo=(python3 iproute2 nftables procps ca-certificates nginx nsd docker-registry skopeo openssl curl
      chrony conntrack dnsutils ngtcp2-client)
check=(python3-pytest libcmocka-dev clang libclang-rt-dev clang-format-14 cppcheck shellcheck mandoc wget
       debootstrap systemd-container openssh-server openssh-client git iputils-ping tcpdump knot-dnsutils ldnsutils
       rsyslog rsyslog-openssl logrotate prometheus)
# What bench_system.py compares with; only for `deps.sh bench`.
bench=(iperf3 strace squid-openssl haproxy sniproxy libnginx-mod-stream dnsperf unbound)
# Used where the distribution has it as a package (Ubuntu has only a snap); its tests are skipped otherwise.
optional=(chromium)
# systemd-resolved is unpacked where it is not installed: its package would point this machine's /etc/resolv.conf at a stub that
# does not run. It goes with the library of the very systemd that is here; without, its tests are skipped.
# So is syslog-ng, whose package cannot be installed beside that of rsyslog.
cache=/var/cache/aksegressd-tests

installed() {
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

available() {
        apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'
}

systemd_version() {
        dpkg-query -W -f '${Version}' systemd 2>/dev/null || true
}

# Whether there is something to unpack.
lacks_resolved() {
        local version
        version=$(systemd_version)
        [ ! -x /usr/lib/systemd/systemd-resolved ] && [ ! -x "$cache/systemd-resolved-$version" ] &&
                apt-cache show "systemd-resolved=$version" >/dev/null 2>&1
}

unpack_resolved() {
        local directory version
        version=$(systemd_version)
        directory=$(mktemp -d)
        if (cd "$directory" && apt-get -q download "systemd-resolved=$version" && dpkg-deb -x ./*.deb .) >/dev/null 2>&1; then
                find "$directory" -type f -path '*/lib/systemd/systemd-resolved' \
                        -exec install -D {} "$cache/systemd-resolved-$version" \;
        else
                echo "systemd-resolved $version cannot be had: its tests will be skipped" >&2
        fi
        rm -rf "$directory"
}

lacks_syslog_ng() {
        [ ! -x "$cache/syslog-ng/usr/sbin/syslog-ng" ] && apt-cache show syslog-ng-core >/dev/null 2>&1
}

# With those of its libraries that this machine does not have.
unpack_syslog_ng() {
        local directory library libraries=()
        directory=$(mktemp -d)
        while read -r library; do
                installed "$library" || libraries+=("$library")
        done < <(apt-cache depends syslog-ng-core | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
        if (cd "$directory" && apt-get -q download syslog-ng-core "${libraries[@]}" &&
                for package in ./*.deb; do dpkg-deb -x "$package" root; done) >/dev/null 2>&1; then
                mkdir -p "$cache"
                rm -rf "$cache/syslog-ng"
                mv "$directory/root" "$cache/syslog-ng"
        else
                echo "syslog-ng cannot be had: its tests will be skipped" >&2
        fi
        rm -rf "$directory"
}

needed=("${build[@]}" "${demo[@]}" "${check[@]}")
if [ "${1:-}" = bench ]; then
        needed+=("${bench[@]}")
fi
missing=()
for package in "${needed[@]}"; do
        installed "$package" || missing+=("$package")
done
wanted=()
for package in "${optional[@]}"; do
        installed "$package" || wanted+=("$package")
done
if [ ${#missing[@]} -eq 0 ] && { [ ${#wanted[@]} -eq 0 ] || ! available "${wanted[0]}"; } && ! lacks_resolved &&
        ! lacks_syslog_ng; then
        exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
        [ ${#missing[@]} -ne 0 ] || exit 0
        echo "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
fi

# The servers are for the lab only: keep apt from starting them on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
fi
log=$(mktemp)
install_packages() {
        if ! "$@" >"$log" 2>&1 </dev/null; then
                tail -n 20 "$log" >&2
                echo "'$*' failed; the whole output is in $log" >&2
                return 1
        fi
}
export DEBIAN_FRONTEND=noninteractive
install_packages apt-get -q update
for package in "${wanted[@]}"; do
        if available "$package"; then
                missing+=("$package")
        fi
done
if [ ${#missing[@]} -ne 0 ]; then
        echo "installing ${missing[*]}"
        install_packages apt-get -qy --no-install-recommends install "${missing[@]}"
fi
if lacks_resolved; then
        unpack_resolved
fi
if lacks_syslog_ng; then
        unpack_syslog_ng
fi
rm -f "$log"
