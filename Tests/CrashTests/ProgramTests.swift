import Testing

/// Tests of the programs as they run. One at a time: most of them kill, trace or starve a daemon, and two cores are few.
@Suite(.serialized) enum ProgramTests {}
