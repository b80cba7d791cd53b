# Make the system in the folder $1 as slim as the public image: mmdebstrap runs this at its end.
set -e

# A layer need not keep the packages that apt fetched, nor what apt can make anew.
cat > "$1"/etc/apt/apt.conf.d/docker-clean <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
END
echo 'Acquire::GzipIndexes "true";' > "$1"/etc/apt/apt.conf.d/docker-gzip-indexes
rm -f "$1"/var/cache/apt/*.bin

# No package lists. (mmdebstrap would have apt do this, which runs the hooks above: not without a chroot.)
find "$1"/var/lib/apt/lists -type f ! -name lock -delete
rm -rf "$1"/var/lib/apt/lists/auxfiles

# A mirror that stalls ends a build after some minutes, not never.
cat > "$1"/etc/apt/apt.conf.d/docker-course-timeouts <<'END'
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::Retries "3";
END

# Nobody needs a half-installed image: unpacking need not wait for the disk.
echo force-unsafe-io > "$1"/etc/dpkg/dpkg.cfg.d/docker-apt-speedup

# No manuals and translations: not in what is here, nor in what will be installed.
cat > "$1"/etc/dpkg/dpkg.cfg.d/docker <<'END'
path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
path-include /usr/share/doc/*/copyright
path-include /usr/share/locale/locale.alias
END
find "$1"/usr/share/doc ! -type d ! -name copyright -delete
find "$1"/usr/share/info "$1"/usr/share/locale "$1"/usr/share/man ! -type d ! -name locale.alias -delete
find "$1"/usr/share/doc "$1"/usr/share/info "$1"/usr/share/locale "$1"/usr/share/man -mindepth 1 -type d -empty -delete
