# Print the memory of containers in bytes, as PSS: of their own processes, and of what the engine keeps around them (the
# parent of a container's first process, and the forwarders of its ports). Arguments: PROCESS=ADDRESS, one a container.
sub text { open my $file, "<", "/proc/$_[0]" or return ""; local $/; return <$file> // "" }

my @pids   = map { /(\d+)/ } glob "/proc/[0-9]*";
my %parent = map { $_ => text("$_/stat") =~ /.*\) \S (\d+)/s ? $1 : 0 } @pids;
my %words  = map { $_ => text("$_/cmdline") } @pids;
my ($own, $overhead) = (0, 0);

sub pss {
    my $text = text("$_[0]/smaps_rollup");
    return $1 * 1024 if $text =~ /^Pss:\s+(\d+)/m;
    die "may not read the memory of process $_[0]\n" if -e "/proc/$_[0]" and $words{$_[0]} ne "";
    return 0;    # it has ended meanwhile
}

for (@ARGV) {
    my ($first, $address) = split /=/;
    die "sees no process $first\n" unless exists $parent{$first};
    for my $pid (@pids) {
        my $above = $pid;
        $above = $parent{$above} while $above and $above != $first;
        if ($above) { $own += pss($pid) }
        elsif ($pid == $parent{$first} and $words{$pid} =~ /shim|conmon/) { $overhead += pss($pid) }
        elsif ($address and $words{$pid} =~ /-container-ip\0\Q$address\E\0/) { $overhead += pss($pid) }
    }
}
print "$own $overhead\n";
