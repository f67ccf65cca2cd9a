import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Eight threads that allocate, share nothing, and print one sum. */
public class Threads {
    public static void main(String[] arguments) throws InterruptedException {
        long[] sums = new long[8];
        List<Thread> threads = new ArrayList<>();
        for (int id = 0; id < sums.length; id++) {
            int mine = id;
            Thread thread = new Thread(() -> sums[mine] = work(mine));
            threads.add(thread);
            thread.start();
        }
        long sum = 0;
        for (int id = 0; id < sums.length; id++) {
            threads.get(id).join();
            sum += sums[id];
        }
        System.out.println(sum);
    }

    static long work(int seed) {
        Map<String, int[]> live = new HashMap<>();
        long sum = 0;
        for (int i = 0; i < 200_000; i++) {
            live.put("key" + (i * 31L + seed) % 5000, new int[i % 300]);
            sum += live.size();
        }
        return sum;
    }
}
