# Removes what a test left behind: containers, processes, mounts, cgroups. Nothing that doesn't
# belong to the test's own directory is touched, save the cgroups that the suite always names alike.
# shellcheck shell=bash

# Usage: sweep DIRECTORY, the TMPDIR of the test. Quiet: leaving things behind is no failure.
sweep() {
    sweep_containers "$1"
    sweep_mounts "$1"
    sweep_processes "$1"
    sweep_cgroups
}

# Containers whose bundle is in the directory, in the runtime's default root.
sweep_containers() {
    local id
    for id in $(timeout 10 "$RUNTIME" list --quiet 2>/dev/null); do
        timeout 10 "$RUNTIME" state "$id" 2>/dev/null | grep -qF "\"$1/" || continue
        timeout 30 "$RUNTIME" delete --force "$id" >/dev/null 2>&1 || true
    done
}

# Mounts below the directory in this mount namespace, the last one first.
sweep_mounts() {
    local point
    awk -v "below=$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r point; do umount --lazy "$(printf '%b' "$point")"; done
}

# Processes that got the directory as TMPDIR, or have something below it mounted or as root.
# mountinfo names a place by its path in its own file system, so the leading directory is left out.
sweep_processes() {
    local file pid place=/${1#/*/}/
    for file in $(grep -lsF -e "TMPDIR=$1" /proc/[0-9]*/environ) $(grep -lsF -e "$place" /proc/[0-9]*/mountinfo); do
        pid=${file#/proc/}
        kill -KILL "${pid%%/*}" 2>/dev/null || true
    done
    for file in /proc/[0-9]*/root; do
        [[ $(readlink "$file" 2>/dev/null) == "$1/"* ]] || continue
        pid=${file#/proc/}
        kill -KILL "${pid%%/*}" 2>/dev/null || true
    done
}

# The cgroups with the suite's fixed names, below every mounted hierarchy. A process needs a moment
# to leave its cgroup after it was killed.
sweep_cgroups() {
    local attempt directory left
    for attempt in 1 2 3 4 5; do
        left=
        for directory in /sys/fs/cgroup/{,*/}{cgrouptest,testdir}; do
            [ -d "$directory" ] || continue
            find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ ! -d "$directory" ] || left=yes
        done
        [ -n "$left" ] || return 0
        sleep "0.$attempt"
    done
}
