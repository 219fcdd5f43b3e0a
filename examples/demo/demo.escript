#!/usr/bin/env escript
%%! +Bd -noinput
%% An Erlang process reads a file in chunks and writes them to a buffer, while a Python
%% function is already reading the same bytes line by line.  What Python found is then
%% checked against sha256sum and grep.
%%
%% Run by examples/demo/run: demo.escript packages|lines FILE terminal|plain
-mode(compile).

-define(CHUNK, 65536).
-define(TICK_MS, 50).

main([Kind, Path, Output]) ->
    _ = io:setopts([{encoding, unicode}]),
    ok = start(),
    Size = filelib:file_size(Path),
    line("input", "~ts, ~ts", [title(Kind, Path), bytes(Size)]),
    {Result, Stream} = stream(list_to_atom(Kind), Path, progress(Output, Size)),
    found(Kind, Result),
    Checks = checks(Kind, Path, Size, Result),
    [line(mark(Same), "~ts", [Text]) || {Same, Text} <- Checks],
    speed(Size, Stream),
    halt(case lists:all(fun({Same, _}) -> Same end, Checks) of true -> 0; false -> 1 end).

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

%% The main job.

stream(Handler, Path, Progress) ->
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(handlers, Handler, [Buf, self()]),
    ok = reading(Ref),
    Start = erlang:monotonic_time(),
    {ok, File} = file:open(Path, [read, raw, binary]),
    Shown = #{read := ReadMeanwhile} = write_file(File, Buf, Progress),
    ok = file:close(File),
    ok = py_buffer:close(Buf),
    Result = answer(Ref, Shown),
    Micros = erlang:convert_time_unit(
        erlang:monotonic_time() - Start, native, microsecond),
    {Result, #{micros => Micros, read_meanwhile => ReadMeanwhile}}.

%% Until the handler is about to read its first line.
reading(Ref) ->
    receive
        {<<"read">>, 0} -> ok;
        {py_response, Ref, Answer} -> result(Answer)
    end.

result({ok, Result}) ->
    Result;
result({error, {Type, Message, Traceback}}) ->
    say("~n~ts: ~ts~n~ts", [Type, Message, Traceback]),
    halt(1).

write_file(File, Buf, #{written := Written} = Progress) ->
    case file:read(File, ?CHUNK) of
        {ok, Chunk} ->
            ok = py_buffer:write(Buf, Chunk),
            write_file(File, Buf, heard(Progress#{written := Written + byte_size(Chunk)}));
        eof ->
            Progress
    end.

%% What the handler has sent so far: how many bytes it has read.
heard(Progress) ->
    receive
        {<<"read">>, Read} -> heard(show(Progress#{read := Read}))
    after 0 ->
        show(Progress)
    end.

%% What py:await/1 does, with an eye on the handler's messages.
answer(Ref, Progress) ->
    receive
        {<<"read">>, Read} ->
            answer(Ref, show(Progress#{read := Read}));
        {py_response, Ref, Answer} ->
            finish(heard(Progress)),
            result(Answer)
    end.

%% Progress: a bar on a terminal, otherwise a line each fifth of the way.

progress(Output, Size) ->
    Common = #{size => Size, written => 0, read => 0},
    case Output of
        "terminal" -> Common#{bar => bar_width(), next => 0};
        "plain" -> Common#{fifth => 0}
    end.

bar_width() ->
    case io:columns() of
        {ok, Columns} -> max(10, min(60, Columns - 40));
        {error, _} -> 40
    end.

show(#{next := Next} = Progress) ->
    case erlang:monotonic_time(millisecond) of
        Now when Next =:= 0; Now >= Next ->
            draw(Progress),
            Progress#{next := Now + ?TICK_MS};
        _ ->
            Progress
    end;
show(#{fifth := Fifth, size := Size, written := Written, read := Read} = Progress) ->
    case part(Read, Size, 5) of
        Now when Now > Fifth ->
            line("streaming", "~3w %: ~ts written, ~ts read",
                [part(Read, Size, 100), bytes(Written), bytes(Read)]),
            Progress#{fifth := Now};
        _ ->
            Progress
    end.

draw(#{bar := Width, size := Size, written := Written, read := Read}) ->
    Full = part(Read, Size, Width),
    Ahead = max(0, part(Written, Size, Width) - Full),
    io:format("\r  ~-11ts~ts~ts~ts ~3w %  ~ts read  ", ["streaming",
        lists:duplicate(Full, $\x{2588}), lists:duplicate(Ahead, $\x{2592}),
        lists:duplicate(Width - Full - Ahead, $\x{2591}),
        part(Read, Size, 100), bytes(Read)]).

finish(#{bar := _} = Progress) ->
    draw(Progress),
    io:nl();
finish(_) ->
    ok.

part(_, 0, Whole) -> Whole;
part(Done, Size, Whole) -> min(Whole, Done * Whole div Size).

%% What Python found.

found("packages", #{<<"records">> := Records, <<"installed_kib">> := KiB,
                    <<"largest">> := Largest, <<"sha256">> := Hash}) ->
    line("packages", "~ts, which take ~ts when installed", [number(Records), bytes(KiB * 1024)]),
    sections("largest", Largest),
    line("sha-256", "~ts", [Hash]);
found("lines", #{<<"records">> := Lines, <<"bytes">> := Bytes,
                 <<"longest">> := Longest, <<"sha256">> := Hash}) ->
    line("lines", "~ts", [number(Lines)]),
    line("bytes", "~ts", [number(Bytes)]),
    line("longest", "~ts bytes", [number(Longest)]),
    line("sha-256", "~ts", [Hash]).

sections(Title, [{Section, KiB, Packages} | Rest]) ->
    line(Title, "~-12ts ~8ts  ~6ts packages", [Section, bytes(KiB * 1024), number(Packages)]),
    sections("", Rest);
sections(_, []) ->
    ok.

%% Is it true?

checks(Kind, Path, Size, #{<<"records">> := Records, <<"bytes">> := Bytes,
                           <<"sha256">> := Hash}) ->
    {Pattern, Records2} = grep(Kind, Path),
    [compare("SHA-256", Hash, "sha256sum", sha256sum(Path)),
     compare(number(Records) ++ " records", Records, "grep -c '" ++ Pattern ++ "'", Records2),
     compare(number(Bytes) ++ " bytes", Bytes, "the size of the file", Size)].

compare(What, Same, By, Same) ->
    {true, io_lib:format("~ts, as by ~ts", [What, By])};
compare(What, _, By, Theirs) ->
    {false, io_lib:format("~ts, but ~tp by ~ts", [What, Theirs, By])}.

sha256sum(Path) ->
    % A name with a backslash or a newline in it makes sha256sum begin with a backslash.
    [Hash | _] = binary:split(command("sha256sum", ["--", Path]), <<" ">>),
    string:trim(Hash, leading, "\\").

grep("packages", Path) -> grep_count("^Package:", Path);
grep("lines", Path) -> grep_count("", Path).

grep_count(Pattern, Path) ->
    Answer = command("grep", ["-a", "-c", "-e", Pattern, "--", Path]),
    {Pattern, binary_to_integer(string:trim(Answer))}.

command(Name, Arguments) ->
    case os:find_executable(Name) of
        false -> say("error: ~ts is not here to check the result", [Name]), halt(2);
        Program -> output(open_port({spawn_executable, Program},
            [{args, Arguments}, {env, [{"LC_ALL", "C"}]}, binary, exit_status]), <<>>)
    end.

output(Port, Sofar) ->
    receive
        {Port, {data, Data}} -> output(Port, <<Sofar/binary, Data/binary>>);
        {Port, {exit_status, _}} -> Sofar
    end.

speed(Size, #{micros := Micros, read_meanwhile := Read}) ->
    line("speed", "~ts in ~.2f s: ~.1f MB/s",
        [bytes(Size), Micros / 1.0e6, Size / max(1, Micros)]),
    line("overlap", "Python had read ~ts when the last chunk was written", [bytes(Read)]),
    line("memory", "~ts at its peak (the whole node; the buffer keeps the file for seek)",
        [peak_memory()]).

peak_memory() ->
    case file:read_file("/proc/self/status") of
        {ok, Status} ->
            {match, [KiB]} = re:run(Status, "VmHWM:\\s+(\\d+) kB", [{capture, [1], binary}]),
            bytes(binary_to_integer(KiB) * 1024);
        {error, _} ->
            "unknown"
    end.

%% Words.

title("packages", _) -> "the package index of this Debian (apt-cache dumpavail)";
title("lines", Path) -> Path.

mark(true) -> "ok";
mark(false) -> "DIFFER".

line(Title, Format, Arguments) ->
    io:format("  ~-11ts" ++ Format ++ "~n", [Title | Arguments]).

say(Format, Arguments) ->
    io:format(Format ++ "~n", Arguments).

bytes(N) when N >= 1000000000 -> io_lib:format("~.1f GB", [N / 1.0e9]);
bytes(N) when N >= 1000000 -> io_lib:format("~.1f MB", [N / 1.0e6]);
bytes(N) when N >= 1000 -> io_lib:format("~.1f kB", [N / 1.0e3]);
bytes(N) -> io_lib:format("~w B", [N]).

number(N) ->
    lists:reverse(thousands(lists:reverse(integer_to_list(N)))).

thousands([A, B, C, D | Rest]) -> [A, B, C, $, | thousands([D | Rest])];
thousands(Short) -> Short.
