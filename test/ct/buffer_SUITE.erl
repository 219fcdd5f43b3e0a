%% py_buffer, seen from both sides.
-module(buffer_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, making}, {group, writing}, {group, ends}, {group, memory}, {group, identity},
     {group, readers}, bad_arguments, six_calls].

groups() ->
    [
        {making, [], [new_in_every_form, length_zero_is_whole, length_is_a_promise,
                      short_of_the_length, beyond_the_length, huge_length_allocates_nothing,
                      max_size_refuses, info_tells]},
        {writing, [], [iodata_of_every_shape, sizes_around_the_thresholds, one_byte_writes,
                       huge_lists, concurrent_writes_are_atomic, lists_are_atomic,
                       bad_iodata_writes_nothing, writer_killed_in_a_write]},
        {ends, [], [write_after_close, write_after_python_closed, close_is_idempotent,
                    reader_gets_what_is_left, close_wakes_every_reader, drain_after_python_close,
                    python_close_wakes_readers]},
        {memory, [], [small_parts_let_go_of_their_parent, copy_always_keeps_nothing,
                      large_binaries_are_adopted, growing_binary_keeps_its_bytes,
                      view_outlives_buffer_and_term, views_while_writing,
                      dropped_buffers_free_their_bytes]},
        {identity, [], [comes_back_as_itself, through_the_external_format,
                        comes_back_when_the_term_is_gone, one_stream_many_terms,
                        buffer_of_another_node, a_dead_buffer]},
        {readers, [], [two_threads_read_lines, two_threads_read_exactly, two_threads_read_some,
                       two_calls_read_one_buffer, dropped_while_python_reads,
                       reader_waits_for_the_writer, killed_caller_of_a_reader]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% Readers that a failed case left blocked are not in the way of the next one.
init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

call(Function, Args) ->
    {ok, Value} = py:call(ct_buffers, Function, Args),
    Value.

on(Buf, Method) -> on(Buf, Method, []).
on(Buf, Method, Args) -> call(invoke, [Buf, Method | Args]).

new() ->
    {ok, Buf} = py_buffer:new(),
    Buf.

%% A reader in a process of its own, in the middle of the call.
start_reading(Buf) ->
    Tag = erlang:unique_integer([positive]),
    Ref = py:spawn_call(ct_buffers, read_after_word, [self(), Tag, Buf]),
    receive {reading, Tag} -> ok end,
    timer:sleep(20),
    Ref.

random(Size) ->
    rand:bytes(Size).

%% ---- Making --------------------------------------------------------------------------

new_in_every_form(_Config) ->
    Forms = [[], [undefined], [3], [0], [1 bsl 63 - 1], [#{}], [#{content_length => undefined}],
             [#{content_length => 3}], [#{copy => auto}], [#{copy => always}],
             [#{content_length => 3, copy => always, seekable => true}]],
    lists:foreach(
        fun(Args) ->
            {ok, Buf} = apply(py_buffer, new, Args),
            true = call(is_buffer, [Buf]),
            <<"PyBuffer">> = call(type_name, [Buf]),
            0 = on(Buf, readable_amount),
            ok = py_buffer:write(Buf, <<"abc">>),
            3 = on(Buf, readable_amount),
            <<"abc">> = on(Buf, read, [10]),
            ok = py_buffer:close(Buf),
            <<>> = on(Buf, read)
        end,
        Forms
    ).

length_zero_is_whole(_Config) ->
    {ok, Buf} = py_buffer:new(0),
    true = on(Buf, at_eof),
    [<<>> = on(Buf, Method) || Method <- [read, readline, readall, read1]],
    {ok, Other} = py_buffer:new(#{content_length => 0}),
    <<>> = on(Other, read).

%% Once so many bytes have been read, nothing waits for the close.
length_is_a_promise(_Config) ->
    {ok, Buf} = py_buffer:new(10),
    ok = py_buffer:write(Buf, <<"12345">>),
    Ref = start_reading(Buf),
    ok = py_buffer:write(Buf, <<"67890">>),
    {ok, <<"1234567890">>} = py:await(Ref),
    [<<>> = on(Buf, Method) || Method <- [read, readline, readall, read1]],
    <<>> = on(Buf, read, [5]),
    true = on(Buf, at_eof),
    false = call(attribute, [Buf, closed]).

short_of_the_length(_Config) ->
    {ok, Buf} = py_buffer:new(10),
    ok = py_buffer:write(Buf, <<"12345">>),
    ok = py_buffer:close(Buf),
    <<"12345">> = on(Buf, read),
    <<>> = on(Buf, read).

beyond_the_length(_Config) ->
    {ok, Buf} = py_buffer:new(3),
    ok = py_buffer:write(Buf, <<"abcdef">>),
    ok = py_buffer:write(Buf, <<"ghi">>),
    9 = on(Buf, readable_amount),
    <<"abcdefghi">> = on(Buf, read),
    ok = py_buffer:write(Buf, <<"j">>),
    <<"j">> = on(Buf, read).

huge_length_allocates_nothing(_Config) ->
    Before = resident(),
    Bufs = [element(2, py_buffer:new(1 bsl 63 - N)) || N <- lists:seq(1, 100)],
    [ok = py_buffer:write(Buf, <<"x">>) || Buf <- Bufs],
    [<<"x">> = on(Buf, read, [9]) || Buf <- Bufs],
    true = resident() - Before < 110 * 1024 * 1024.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% ---- Writing ---------------------------------------------------------------------------

iodata_of_every_shape(_Config) ->
    Big = random(5000),
    Part = binary:part(Big, 100, 3000),
    <<_:3, Odd:40/bitstring, _/bitstring>> = random(9),
    Shapes = [
        <<>>, [], [[]], [<<>>, [], [<<>>]], <<"a">>, "abc", [$a, $b], [<<"a">> | <<"b">>],
        [[["deep"]], <<"er">>, [[], [$x | <<"y">>]]], Big, [Big], [Big | Big], Part, [Part, Part],
        ["a", Big, "b", Part, "c"], [255, 0, 128], Odd, [Odd, Big | Odd],
        lists:foldl(fun(_, In) -> [In, $.] end, [], lists:seq(1, 10_000)),
        lists:foldl(fun(_, In) -> [$. | In] end, <<"end">>, lists:seq(1, 10_000))
    ],
    {ok, Copying} = py_buffer:new(#{copy => always}),
    lists:foreach(
        fun(Buf) ->
            [begin
                 ok = py_buffer:write(Buf, Shape),
                 Bytes = iolist_to_binary(Shape),
                 Size = byte_size(Bytes),
                 Size = on(Buf, readable_amount),
                 Bytes = read_exactly(Buf, Size)
             end || Shape <- Shapes],
            %% All of them in one stream.
            ok = py_buffer:write(Buf, Shapes),
            [ok = py_buffer:write(Buf, Shape) || Shape <- Shapes],
            ok = py_buffer:close(Buf),
            Whole = iolist_to_binary([Shapes, Shapes]),
            Whole = on(Buf, read)
        end,
        [new(), Copying]
    ).

read_exactly(Buf, Size) ->
    on(Buf, readexactly, [Size]).

sizes_around_the_thresholds(_Config) ->
    Sizes = [1, 63, 64, 511, 512, 2047, 2048, 2049, 4095, 4096, 4097, 16383, 16384, 16385,
             65535, 65536, 65537, 1_000_000],
    Whole = random(1_000_100),
    Buf = new(),
    Pieces = [Piece || Size <- Sizes,
                       Piece <- [random(Size), binary:part(Whole, 50, Size)]],
    [ok = py_buffer:write(Buf, Piece) || Piece <- Pieces],
    ok = py_buffer:write(Buf, Pieces),
    ok = py_buffer:close(Buf),
    Expected = iolist_to_binary([Pieces, Pieces]),
    Expected = on(Buf, read),
    ok. % what a case returns is written to the log, a minute for some megabytes

one_byte_writes(_Config) ->
    Data = random(50_000),
    Buf = new(),
    [ok = py_buffer:write(Buf, <<Byte>>) || <<Byte>> <= Data],
    ok = py_buffer:close(Buf),
    Data = on(Buf, read),
    ok.

huge_lists(_Config) ->
    Buf = new(),
    Bytes = [X band 255 || X <- lists:seq(1, 1_000_000)],
    Binaries = [<<X:32>> || X <- lists:seq(1, 300_000)],
    Large = lists:duplicate(5000, random(4096)),
    ok = py_buffer:write(Buf, Bytes),
    ok = py_buffer:write(Buf, Binaries),
    ok = py_buffer:write(Buf, Large),
    ok = py_buffer:close(Buf),
    Digest = digest([Bytes, Binaries, Large]),
    Digest = call(read_digest, [Buf]).

digest(Data) ->
    string:lowercase(binary:encode_hex(crypto_sha256(Data))).

crypto_sha256(Data) ->
    {ok, _} = application:ensure_all_started(crypto),
    crypto:hash(sha256, Data).

%% Whole records of each writer in its own order, whatever the others do meanwhile.
concurrent_writes_are_atomic(_Config) ->
    Buf = new(),
    Parent = self(),
    Writers = [spawn_link(fun() ->
                   [ok = py_buffer:write(Buf, record(W, N)) || N <- lists:seq(1, 300)],
                   Parent ! self()
               end) || W <- lists:seq(1, 20)],
    Ref = start_reading(Buf),
    [receive Writer -> ok end || Writer <- Writers],
    ok = py_buffer:close(Buf),
    {ok, Data} = py:await(Ref),
    Seen = records(Data, #{}),
    20 = map_size(Seen),
    [true = lists:reverse(Ns) =:= lists:seq(1, 300) || Ns <- maps:values(Seen)],
    ok.

%% Small, large and in many parts by turns.
record(W, N) ->
    Size = element(N rem 4 + 1, {5, 3000, 200, 20_000}),
    Body = binary:copy(<<W>>, Size),
    case N rem 3 of
        0 -> [<<W:16>>, <<N:16, Size:32>>, Body];
        1 -> <<W:16, N:16, Size:32, Body/binary>>;
        2 -> [W bsr 8, W, [<<N:16>>], <<Size:32>> | erlpy_ct:pieces(Body, 700)]
    end.

records(<<>>, Seen) ->
    Seen;
records(<<W:16, N:16, Size:32, Body:Size/binary, Rest/binary>>, Seen) ->
    true = Body =:= binary:copy(<<W>>, Size),
    records(Rest, maps:update_with(W, fun(Ns) -> [N | Ns] end, [N], Seen)).

%% A list that takes many slices to build still arrives in one piece.
lists_are_atomic(_Config) ->
    Buf = new(),
    Parent = self(),
    Count = 20_000,
    Writers = [spawn_link(fun() ->
                   Pieces = lists:duplicate(Count, binary:copy(<<W>>, 100)),
                   [ok = py_buffer:write(Buf, Pieces) || _ <- [1, 2, 3]],
                   Parent ! self()
               end) || W <- lists:seq(1, 6)],
    [receive Writer -> ok end || Writer <- Writers],
    ok = py_buffer:close(Buf),
    Runs = runs(on(Buf, read), Count * 100, []),
    18 = length(Runs),
    [3 = length([X || X <- Runs, X =:= W]) || W <- lists:seq(1, 6)],
    ok.

runs(<<>>, _Size, Runs) ->
    Runs;
runs(<<W, _/binary>> = Data, Size, Runs) ->
    {Run, Rest} = split_binary(Data, Size),
    true = Run =:= binary:copy(<<W>>, Size),
    runs(Rest, Size, [W | Runs]).

bad_iodata_writes_nothing(_Config) ->
    Buf = new(),
    Bad = [x, 17, 1.5, {}, #{}, self(), <<1:1>>, [x], [256], [-1], [<<"good">>, x], [<<"good">> | x],
           [<<"good">>, [<<"good">>, 1.5]], [<<"good">>, <<1:1>>], [<<"good">> | $x],
           lists:duplicate(100_000, <<"good">>) ++ [bad]],
    [erlpy_ct:badarg(py_buffer, write, [Buf, Data], 2) || Data <- Bad],
    0 = on(Buf, readable_amount),
    ok = py_buffer:write(Buf, <<"only this">>),
    ok = py_buffer:close(Buf),
    <<"only this">> = on(Buf, read).

%% Either all of a write or nothing of it.
writer_killed_in_a_write(_Config) ->
    Pieces = lists:duplicate(200_000, binary:copy(<<"k">>, 100)),
    Sizes = [begin
        Buf = new(),
        {Writer, Monitor} = spawn_monitor(fun() -> py_buffer:write(Buf, Pieces) end),
        timer:sleep(Delay),
        exit(Writer, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        Size = on(Buf, readable_amount),
        ok = py_buffer:write(Buf, <<"after">>),
        Size2 = on(Buf, readable_amount),
        Size2 = Size + 5,
        Size
    end || Delay <- [0, 2, 5, 10, 15, 20, 30]],
    ct:pal("~p", [Sizes]),
    true = lists:all(fun(Size) -> Size =:= 0 orelse Size =:= 20_000_000 end, Sizes).

%% ---- Ends ---------------------------------------------------------------------------------

write_after_close(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"before">>),
    ok = py_buffer:close(Buf),
    [{error, closed} = py_buffer:write(Buf, Data)
     || Data <- [<<"after">>, [<<"after">>], random(5000), [random(5000), "x"]]],
    <<"before">> = on(Buf, read),
    {error, closed} = py_buffer:write(Buf, <<"after">>).

write_after_python_closed(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"before">>),
    none = on(Buf, close),
    true = call(attribute, [Buf, closed]),
    [{error, closed} = py_buffer:write(Buf, Data)
     || Data <- [<<"after">>, [<<"after">>], random(5000)]],
    ok = py_buffer:close(Buf).

close_is_idempotent(_Config) ->
    Buf = new(),
    [ok = py_buffer:close(Buf) || _ <- [1, 2, 3]],
    false = call(attribute, [Buf, closed]),
    true = on(Buf, at_eof),
    none = on(Buf, close),
    ok = py_buffer:close(Buf).

reader_gets_what_is_left(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"one\ntwo\nthr">>),
    <<"one\n">> = on(Buf, readline),
    ok = py_buffer:close(Buf),
    false = on(Buf, at_eof),
    <<"two\n">> = on(Buf, readline),
    <<"thr">> = on(Buf, readline),
    <<>> = on(Buf, readline),
    <<>> = on(Buf, read),
    true = on(Buf, at_eof).

close_wakes_every_reader(_Config) ->
    Buf = new(),
    {Contexts, Refs} = blocked_readers(Buf, [read, readline, readall, readlines]),
    ok = py_buffer:close(Buf),
    [{ok, <<>>}, {ok, <<>>}, {ok, <<>>}, {ok, []}] = [py:await(Ref, 5000) || Ref <- Refs],
    [ok = py_context:destroy(Context) || Context <- Contexts].

python_close_wakes_readers(_Config) ->
    Buf = new(),
    {Contexts, Refs} = blocked_readers(Buf, [read, readline, readall]),
    none = on(Buf, close),
    [{ok, <<>>} = py:await(Ref, 5000) || Ref <- Refs],
    [ok = py_context:destroy(Context) || Context <- Contexts].

blocked_readers(Buf, Methods) ->
    Contexts = [element(2, py_context:new()) || _ <- Methods],
    Refs = [py:spawn_call(Context, ct_buffers, invoke, [Buf, Method])
            || {Context, Method} <- lists:zip(Contexts, Methods)],
    [{error, timeout} = py:await(Ref, 30) || Ref <- Refs],
    {Contexts, Refs}.

drain_after_python_close(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"arrived\nbefore">>),
    none = on(Buf, close),
    <<"arrived\n">> = on(Buf, readline),
    <<"before">> = on(Buf, read),
    <<>> = on(Buf, read),
    true = on(Buf, at_eof).

%% ---- Memory ---------------------------------------------------------------------------------

binary_memory() ->
    erlpy_ct:collect(),
    erlang:memory(binary).

%% The writer of a part of ten megabytes dies; what stays is about the part.
retained(Options, Offset, Size) ->
    Before = binary_memory(),
    {ok, Buf} = py_buffer:new(Options),
    {_, Monitor} = spawn_monitor(fun() ->
        Parent = random(10_000_000),
        ok = py_buffer:write(Buf, binary:part(Parent, Offset, Size)),
        ok = py_buffer:write(Buf, [<<"x">>, binary:part(Parent, Offset, Size)]),
        erlang:garbage_collect()
    end),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    Retained = binary_memory() - Before,
    Expected = 2 * Size + 1,
    Expected = on(Buf, readable_amount),
    Retained.

small_parts_let_go_of_their_parent(_Config) ->
    [{Size, true} = {Size, retained(#{}, Offset, Size) < 1_000_000}
     || Size <- [10, 100, 2047, 2048, 5000, 16384], Offset <- [0, 5_000_000]],
    %% A large part is adopted, with the parent.
    true = retained(#{}, 0, 6_000_000) > 9_000_000.

copy_always_keeps_nothing(_Config) ->
    [{Size, true} = {Size, retained(#{copy => always}, 0, Size) < 1_000_000}
     || Size <- [10, 20_000, 2_000_000, 9_000_000]].

large_binaries_are_adopted(_Config) ->
    Before = resident(),
    Buf = new(),
    Data = random(1_000_000),
    [ok = py_buffer:write(Buf, Data) || _ <- lists:seq(1, 300)],
    300_000_000 = on(Buf, readable_amount),
    true = resident() - Before < 50_000_000.

growing_binary_keeps_its_bytes(_Config) ->
    Buf = new(),
    Grown = lists:foldl(
        fun(N, Bin) ->
            Longer = <<Bin/binary, (binary:copy(<<N>>, 1000))/binary>>,
            ok = py_buffer:write(Buf, Longer),
            none = call(keep_view, [N, Buf]),
            Digest = call(view_digest, [N]),
            put(N, Digest),
            Size = on(Buf, readable_amount),
            <<_/binary>> = read_exactly(Buf, Size),
            Digest = digest(Longer),
            Longer
        end,
        binary:copy(<<"start">>, 1000), lists:seq(1, 100)
    ),
    %% It has grown far past what the first views show.
    More = lists:foldl(fun(N, Bin) -> <<Bin/binary, N:80_000>> end, Grown, lists:seq(1, 50)),
    true = byte_size(More) > 500_000,
    [{N, true} = {N, call(view_digest, [N]) =:= get(N)} || N <- lists:seq(1, 100)],
    [none = call(forget, [N]) || N <- lists:seq(1, 100)],
    ok.

view_outlives_buffer_and_term(_Config) ->
    Data = random(100_000),
    {_, Monitor} = spawn_monitor(fun() ->
        Whole = new(),
        ok = py_buffer:write(Whole, binary:copy(Data)),
        none = call(keep_view, [whole, Whole]),
        Pieces = new(),
        [ok = py_buffer:write(Pieces, Piece) || Piece <- erlpy_ct:pieces(Data, 999)],
        none = call(keep_view, [pieces, Pieces]),
        none = on(Pieces, close)
    end),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    erlpy_ct:collect(),
    {ok, _} = py:call(gc, collect, []),
    %% Other buffers would take up memory that was given back.
    Others = [erlpy_ct:reader(random(100_000)) || _ <- lists:seq(1, 50)],
    [Data = call(view_bytes, [Name]) || Name <- [whole, pieces]],
    [none = call(forget, [Name]) || Name <- [whole, pieces]],
    50 = length(Others).

views_while_writing(_Config) ->
    Buf = new(),
    Data = random(50_000),
    lists:foldl(
        fun(Piece, Before) ->
            ok = py_buffer:write(Buf, Piece),
            Now = <<Before/binary, Piece/binary>>,
            none = call(keep_view, [byte_size(Now), Buf]),
            Now
        end,
        <<>>, erlpy_ct:pieces(Data, 500)
    ),
    [begin
         Expected = binary:part(Data, 0, Size),
         Expected = call(view_bytes, [Size]),
         none = call(forget, [Size])
     end || Size <- lists:seq(500, 50_000, 500)],
    Data = read_exactly(Buf, 50_000).

dropped_buffers_free_their_bytes(_Config) ->
    Before = binary_memory(),
    {_, Monitor} = spawn_monitor(fun() ->
        Bufs = [begin
                    Buf = new(),
                    ok = py_buffer:write(Buf, random(1_000_000)),
                    <<_:1000/binary>> = on(Buf, read, [1000]),
                    Buf
                end || _ <- lists:seq(1, 50)],
        true = erlang:memory(binary) - Before > 45_000_000,
        50 = length(Bufs)
    end),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    {ok, _} = py:call(gc, collect, []),
    ok = erlpy_ct:eventually(fun() -> binary_memory() - Before < 1_000_000 end).

%% ---- Identity ---------------------------------------------------------------------------------

comes_back_as_itself(_Config) ->
    Buf = new(),
    Buf = call(echo, [Buf]),
    #{<<"input">> := [Buf, {Buf}]} = call(echo, [#{input => [Buf, {Buf}]}]),
    #{Buf := 1} = call(echo, [#{Buf => 1}]),
    Again = call(echo, [Buf]),
    ok = py_buffer:write(Again, <<"through the copy">>),
    <<"through the copy">> = on(Buf, read, [100]),
    {ok, none} = py:call(ct_terms, send, [self(), Buf]),
    receive Buf -> ok end.

through_the_external_format(_Config) ->
    Buf = new(),
    Same = binary_to_term(term_to_binary(Buf)),
    true = Same =:= Buf,
    ok = py_buffer:write(Same, <<"abc">>),
    <<"abc">> = on(binary_to_term(term_to_binary(Buf)), read, [3]),
    Buf = call(echo, [Same]).

%% Python alone still holds it: a new term refers to the same stream, which nobody could
%% write meanwhile.
comes_back_when_the_term_is_gone(_Config) ->
    {_, Monitor} = spawn_monitor(fun() ->
        Buf = new(),
        ok = py_buffer:write(Buf, <<"early, ">>),
        none = call(keep, [alone, Buf])
    end),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    erlpy_ct:collect(),
    Buf = call(take, [alone]),
    {error, {aborted, abandoned}} = py_buffer:write(Buf, <<"late">>),
    ok = py_buffer:close(Buf),
    <<"early, ">> = on(call(take, [alone]), read, [100]),
    none = call(forget, [alone]).

one_stream_many_terms(_Config) ->
    Buf = new(),
    [true, true] = element(2, py:eval("[a == b, hash(a) == hash(b)]", #{a => Buf, b => Buf})),
    [false] = element(2, py:eval("[a == b]", #{a => Buf, b => new()})),
    {ok, true} = py:eval("bool(a)", #{a => Buf}).

buffer_of_another_node(Config) ->
    {Here, HereNode} = erlpy_ct:peer(buffer_here, #{}),
    {There, _} = erlpy_ct:peer(buffer_there, #{}),
    [ok = peer:call(Peer, erlpy_ct, start, [Config, []]) || Peer <- [Here, There]],
    pong = peer:call(There, net_adm, ping, [HereNode]),
    ok = peer:call(There, ?MODULE, use_far_away, [HereNode]),
    ok = peer:stop(Here),
    ok = peer:stop(There).

use_far_away(Node) ->
    {Holder, Buf} = erpc:call(Node, ?MODULE, hold_buffer, []),
    [begin
         Text = erlpy_ct:badarg(py_buffer, Function, Args, 1),
         {match, _} = re:run(Text, "^buffer of another node: only processes of ")
     end || {Function, Args} <- [{write, [Buf, <<"x">>]}, {write, [Buf, ["x"]]}, {close, [Buf]}]],
    {error, {<<"AttributeError">>, NoBuffer, _}} = py:call(ct_buffers, invoke, [Buf, read, 10]),
    {match, _} = re:run(NoBuffer, "no attribute 'read'; a buffer or channel of another node"),
    %% At home it is itself again.
    ok = erpc:call(Node, py_buffer, write, [Buf, <<"home">>]),
    {ok, <<"home">>} = erpc:call(Node, py, call, [ct_buffers, invoke, [Buf, read, 10]]),
    Holder ! done,
    ok.

hold_buffer() ->
    Parent = self(),
    Holder = spawn(fun() ->
        Buf = new(),
        Parent ! {self(), Buf},
        receive done -> Buf end
    end),
    receive {Holder, Buf} -> {Holder, Buf} end.

a_dead_buffer(_Config) ->
    Parent = self(),
    spawn(fun() -> Parent ! {external, term_to_binary(new())} end),
    External = receive {external, Bytes} -> Bytes end,
    timer:sleep(50),
    erlpy_ct:collect(),
    Dead = binary_to_term(External),
    erlpy_ct:badarg(py_buffer, write, [Dead, <<"x">>], 1),
    erlpy_ct:badarg(py_buffer, close, [Dead], 1),
    <<"Ref">> = call(type_name, [Dead]).

%% ---- Readers -------------------------------------------------------------------------------------

two_threads_read_lines(_Config) ->
    Lines = [iolist_to_binary([integer_to_list(N), binary:copy(<<"x">>, N rem 90), "\n"])
             || N <- lists:seq(1, 5000)],
    Buf = erlpy_ct:trickle_by(Lines, 37),
    Read = call(read_by, [Buf, 2, readline]),
    true = lists:sort(lists:append(Read)) =:= lists:sort(Lines).

two_threads_read_exactly(_Config) ->
    Records = [<<N:64>> || N <- lists:seq(1, 5000)],
    Buf = erlpy_ct:trickle_by(Records, 333),
    Read = call(read_by, [Buf, 2, readexactly, 8]),
    true = lists:sort(lists:append(Read)) =:= Records.

two_threads_read_some(_Config) ->
    Data = random(200_000),
    Counts = lists:foldl(fun(B, M) -> M#{B => maps:get(B, M, 0) + 1} end, #{}, binary_to_list(Data)),
    Buf = erlpy_ct:trickle_by([Data], 1234),
    Counts = call(count_bytes, [Buf, 2, 100]).

two_calls_read_one_buffer(_Config) ->
    Records = [<<N:64>> || N <- lists:seq(1, 4000)],
    Buf = erlpy_ct:trickle_by(Records, 999),
    Contexts = [element(2, py_context:new()) || _ <- [1, 2, 3]],
    Refs = [py:spawn_call(Context, ct_buffers, read_by, [Buf, 1, readexactly, 8])
            || Context <- Contexts],
    Read = [Record || Ref <- Refs, {ok, [Mine]} <- [py:await(Ref)], Record <- Mine],
    true = lists:sort(Read) =:= Records,
    [ok = py_context:destroy(Context) || Context <- Contexts].

dropped_while_python_reads(_Config) ->
    Data = random(3_000_000),
    Parent = self(),
    spawn(fun() ->
        Buf = new(),
        Ref = py:spawn_call(ct_buffers, read_by, [Buf, 1, read, 1000]),
        [ok = py_buffer:write(Buf, Piece) || Piece <- erlpy_ct:pieces(Data, 100_000)],
        ok = py_buffer:close(Buf),
        Parent ! {answer, py:await(Ref)}
    end),
    spawn(fun() ->
        Buf = new(),
        ok = py:cast(ct_buffers, keep, [dropped, Buf]),
        ok = py:cast(ct_calls, send, [Parent, kept]),
        ok = py_buffer:write(Buf, binary:copy(Data)),
        ok = py_buffer:close(Buf)
    end),
    receive <<"kept">> -> ok end,
    receive {answer, {ok, [Chunks]}} -> true = iolist_to_binary(Chunks) =:= Data end,
    erlpy_ct:collect(),
    Data = on(call(take, [dropped]), read),
    none = call(forget, [dropped]).

reader_waits_for_the_writer(_Config) ->
    Buf = new(),
    Ref = py:spawn_call(ct_buffers, read_some_after_word, [self(), 1, Buf, 10]),
    receive {reading, 1} -> ok end,
    {error, timeout} = py:await(Ref, 100),
    ok = py_buffer:write(Buf, <<>>),
    {error, timeout} = py:await(Ref, 50),
    ok = py_buffer:write(Buf, <<"!">>),
    {ok, <<"!">>} = py:await(Ref, 2000).

killed_caller_of_a_reader(_Config) ->
    Buf = new(),
    Waiting = fun(N) -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= N end,
    {Caller, Monitor} = spawn_monitor(fun() -> on(Buf, read, [5]) end),
    ok = erlpy_ct:eventually(fun() -> Waiting(1) end),
    exit(Caller, kill),
    receive {'DOWN', Monitor, process, _, killed} -> ok end,
    %% Its read ends and takes nothing.
    ok = erlpy_ct:eventually(fun() -> Waiting(0) end),
    ok = py_buffer:write(Buf, <<"mine">>),
    <<"mine">> = on(Buf, read, [10]).

%% ---- Arguments ---------------------------------------------------------------------------------------

bad_arguments(_Config) ->
    Buf = new(),
    {ok, Context} = py_context:new(),
    Cases = [
        {new, 1, [Bad]} || Bad <- [-1, 1 bsl 63, 1.0, x, <<"5">>, [], "5", {5}, self(),
                                   #{content_length => -1}, #{content_length => 1 bsl 63},
                                   #{content_length => x}, #{copy => never}, #{copy => true},
                                   #{seekable => 'maybe'}, #{unknown => 1}, #{"copy" => auto}]
    ] ++ [
        {write, 1, [x, <<"x">>]}, {write, 1, [make_ref(), <<"x">>]}, {write, 1, [Context, <<"x">>]},
        {write, 1, [self(), ["x"]]}, {write, 1, [<<"x">>, <<"y">>]}, {write, 2, [Buf, x]},
        {write, 2, [Buf, 5]}, {write, 2, [Buf, <<1:1>>]}, {write, 2, [Buf, [x]]},
        {write, 2, [Buf, Buf]}, {close, 1, [x]}, {close, 1, [make_ref()]}, {close, 1, [Context]}
    ],
    [erlpy_ct:badarg(py_buffer, Function, Args, N) || {Function, N, Args} <- Cases],
    0 = on(Buf, readable_amount),
    ok = py_context:destroy(Context).

six_calls(_Config) ->
    erlpy_ct:still_works().

%% ---- Limits and what info says ---------------------------------------------------------

max_size_refuses(_Config) ->
    {ok, Buf} = py_buffer:new(#{max_size => 5000}),
    ok = py_buffer:write(Buf, binary:copy(<<"a">>, 4000)),
    {error, too_large} = py_buffer:write(Buf, binary:copy(<<"b">>, 1001)),
    {error, too_large} = py_buffer:write(Buf, [binary:copy(<<"b">>, 3000), <<"b">>]),
    #{state := open, written := 4000} = py_buffer:info(Buf),
    ok = py_buffer:write(Buf, binary:copy(<<"c">>, 1000)),
    {error, too_large} = py_buffer:write(Buf, <<"d">>),
    ok = py_buffer:write(Buf, <<>>),
    ok = py_buffer:close(Buf),
    Expected = <<(binary:copy(<<"a">>, 4000))/binary, (binary:copy(<<"c">>, 1000))/binary>>,
    Expected = on(Buf, read).

info_tells(_Config) ->
    Buf = new(),
    Idle = #{state => open, reader_closed => false, written => 0, read => 0, available => 0,
             retained => 0, views => 0, waiting_readers => 0, waiting_writers => 0,
             high_watermark => infinity, low_watermark => infinity},
    Idle = py_buffer:info(Buf),
    Reader = start_reading(Buf),
    erlpy_ct:eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1 end),
    ok = py_buffer:write(Buf, binary:copy(<<"x">>, 100000)),
    ok = py_buffer:close(Buf),
    {ok, _} = py:await(Reader),
    #{state := ended, reader_closed := false, written := 100000, read := 100000,
      available := 0, retained := Retained, waiting_readers := 0} = py_buffer:info(Buf),
    true = Retained >= 100000,
    none = on(Buf, close),
    #{reader_closed := true} = py_buffer:info(Buf),
    erlpy_ct:badarg(py_buffer, info, [make_ref()], 1).
